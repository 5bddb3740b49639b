package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/internal/glob"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// Exposure decides which methods can be reached. It is immutable. A nil Exposure exposes everything
// except gRPC's own services.
type Exposure struct {
	expose, hide []string
	hideFolded   []string // hide in lower case
}

// NewExposure checks the patterns. A pattern is a `package.Service` or `package.Service/Method`. A
// `*` in it matches any text. A pattern without a slash is for all methods of the service.
//
// A pattern of expose that names one of gRPC's own services is an error, see Allows.
func NewExposure(expose, hide []string) (*Exposure, error) {
	for _, p := range expose {
		if err := CheckPattern(p); err != nil {
			return nil, fmt.Errorf("expose: %w", err)
		}
		if service, _, _ := strings.Cut(p, "/"); schema.IsGRPCOwn(service) {
			return nil, fmt.Errorf("expose: pattern %q: gRPC's own services describe one instance and cannot be exposed; "+
				"the options reflection and health make the gateway answer them itself", p)
		}
	}
	e := &Exposure{expose: expose, hide: hide}
	for _, p := range hide {
		if err := CheckPattern(p); err != nil {
			return nil, fmt.Errorf("hide: %w", err)
		}
		e.hideFolded = append(e.hideFolded, strings.ToLower(p))
	}
	return e, nil
}

// CheckPattern says what is wrong with a pattern.
func CheckPattern(p string) error {
	bad := func(c rune) bool {
		return c != '_' && c != '.' && c != '/' && c != '*' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if p == "" || strings.HasPrefix(p, "/") || strings.Count(p, "/") > 1 || strings.ContainsFunc(p, bad) {
		return fmt.Errorf("pattern %q: expected package.Service or package.Service/Method, with * for anything", p)
	}
	return nil
}

// Allows reports whether a method `package.Service/Method` can be reached. gRPC's own services
// never can: they describe one instance, and they show methods that are hidden.
func (e *Exposure) Allows(method string) bool {
	service, _, _ := strings.Cut(method, "/")
	if schema.IsGRPCOwn(service) {
		return false
	}
	if e == nil {
		return true
	}
	if len(e.expose) > 0 && !matchesAny(e.expose, service, method) {
		return false
	}
	return !matchesAny(e.hide, service, method)
}

// allowsSpelling is Allows for a name from a request. folded is the name in lower case. Some
// servers find methods without regard to case, so a name is refused even if it differs from a
// hidden one in case only.
func (e *Exposure) allowsSpelling(method, folded string) bool {
	service, _, _ := strings.Cut(folded, "/")
	if schema.IsGRPCOwn(service) || !e.Allows(method) {
		return false
	}
	return e == nil || !matchesAny(e.hideFolded, service, folded)
}

// Matches reports whether one of the patterns matches a method `package.Service/Method`. The
// patterns are valid, see CheckPattern.
func Matches(patterns []string, method string) bool {
	service, _, _ := strings.Cut(method, "/")
	return matchesAny(patterns, service, method)
}

func matchesAny(patterns []string, service, method string) bool {
	for _, p := range patterns {
		if matches(p, service, method) {
			return true
		}
	}
	return false
}

func matches(pattern, service, method string) bool {
	if strings.Contains(pattern, "/") {
		return glob.Match(pattern, method)
	}
	return glob.Match(pattern, service)
}

// ownMethods are methods of gRPC's own services, which are in no schema. A pattern that matches one
// of them has a meaning.
var ownMethods = []string{
	"grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	"grpc.health.v1.Health/Check",
	"grpc.health.v1.Health/List",
	"grpc.health.v1.Health/Watch",
	"grpc.channelz.v1.Channelz/GetServers",
	"grpc.binarylog.v1.BinaryLog/Log",
}

// checkPatterns reports the patterns of expose, hide, policies and tools that match no method of
// any schema: they are mistyped, or the method has gone. It reports nothing while a schema is
// missing, and nothing if members come and go.
func (b *builder) checkPatterns() {
	if b.pending || b.cfg.Open || len(b.out.members) == 0 {
		return
	}
	if e := b.cfg.Exposure; e != nil {
		b.checkUsed("expose", e.expose, nil)
		b.checkUsed("hide", slices.DeleteFunc(slices.Clone(e.hide), schema.IsGRPCOwn), ownMethods)
	}
	local := make([]string, len(b.cfg.Local))
	for i, m := range b.cfg.Local {
		local[i] = m.Name
	}
	b.checkUsed("with", b.cfg.PolicyPatterns, local)
	b.checkUsed("mcp", b.cfg.ToolPatterns, nil)
}

func (b *builder) checkUsed(option string, patterns, further []string) {
	for _, p := range patterns {
		if !b.usesPattern(p, further) {
			b.problem(Problem{Fatal: true, Reason: fmt.Sprintf("%s: pattern %q matches no method of any upstream", option, p)})
		}
	}
}

func (b *builder) usesPattern(pattern string, further []string) bool {
	match := func(method string) bool {
		service, _, _ := strings.Cut(method, "/")
		return matches(pattern, service, method)
	}
	for i := range b.out.members {
		for _, sm := range b.out.members[i].Schema.Methods() {
			if match(sm.Name) {
				return true
			}
		}
	}
	return slices.ContainsFunc(further, match)
}
