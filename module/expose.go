package module

import (
	"fmt"
	"strings"

	"github.com/caddy-grpc/gateway/internal/glob"
)

// exposure decides which methods can be reached at all. Immutable.
type exposure struct {
	expose, hide []string
}

// newExposure checks the patterns. A pattern is a `package.Service` or `package.Service/Method` in which `*` stands for any run of
// characters; one without a slash is about all methods of the service.
func newExposure(expose, hide []string) (*exposure, error) {
	for _, p := range expose {
		if err := checkPattern(p); err != nil {
			return nil, fmt.Errorf("expose: %w", err)
		}
	}
	for _, p := range hide {
		if err := checkPattern(p); err != nil {
			return nil, fmt.Errorf("hide: %w", err)
		}
	}
	return &exposure{expose: expose, hide: hide}, nil
}

func checkPattern(p string) error {
	bad := func(c rune) bool {
		return c != '_' && c != '.' && c != '/' && c != '*' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if p == "" || strings.HasPrefix(p, "/") || strings.ContainsFunc(p, bad) {
		return fmt.Errorf("pattern %q: expected package.Service or package.Service/Method, with * for anything", p)
	}
	return nil
}

// allows reports whether a method "package.Service/Method" can be reached. The services of the package grpc never can: they are about one
// instance, and tell of methods that are hidden.
func (e *exposure) allows(method string) bool {
	service, _, _ := strings.Cut(method, "/")
	if strings.HasPrefix(service, "grpc.") || len(e.expose) > 0 && !matchesAny(e.expose, service, method) {
		return false
	}
	return !matchesAny(e.hide, service, method)
}

func matchesAny(patterns []string, service, method string) bool {
	for _, p := range patterns {
		name := service
		if strings.Contains(p, "/") {
			name = method
		}
		if glob.Match(p, name) {
			return true
		}
	}
	return false
}
