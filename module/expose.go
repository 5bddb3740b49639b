package module

import (
	"fmt"
	"strings"
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
		if globMatch(p, name) {
			return true
		}
	}
	return false
}

// globMatch reports whether the whole name matches the pattern, where `*` is any run of characters. Its cost is at most the
// product of the lengths: only the last star is ever returned to.
func globMatch(pattern, name string) bool {
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
