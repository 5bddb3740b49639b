package routes

import (
	"fmt"
	"strings"

	"github.com/caddy-grpc/gateway/internal/glob"
)

// Exposure decides which methods can be reached at all. Immutable. A nil Exposure exposes
// everything but gRPC's own services.
type Exposure struct {
	expose, hide []string
}

// NewExposure checks the patterns. A pattern is a `package.Service` or `package.Service/Method`. A
// `*` in it matches any run of characters. A pattern without a slash is about all methods of the
// service.
func NewExposure(expose, hide []string) (*Exposure, error) {
	for _, p := range expose {
		if err := CheckPattern(p); err != nil {
			return nil, fmt.Errorf("expose: %w", err)
		}
	}
	for _, p := range hide {
		if err := CheckPattern(p); err != nil {
			return nil, fmt.Errorf("hide: %w", err)
		}
	}
	return &Exposure{expose: expose, hide: hide}, nil
}

// CheckPattern says what is wrong with a pattern.
func CheckPattern(p string) error {
	bad := func(c rune) bool {
		return c != '_' && c != '.' && c != '/' && c != '*' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if p == "" || strings.HasPrefix(p, "/") || strings.ContainsFunc(p, bad) {
		return fmt.Errorf("pattern %q: expected package.Service or package.Service/Method, with * for anything", p)
	}
	return nil
}

// Allows reports whether a method `package.Service/Method` can be reached. The services of the
// package grpc never can: they are about one instance, and they show methods that are hidden.
func (e *Exposure) Allows(method string) bool {
	if e == nil {
		e = new(Exposure)
	}
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
