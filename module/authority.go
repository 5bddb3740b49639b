package module

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/discovery"
)

// validateAuthority checks the option `authority`, unless it has placeholders. It is a host or
// host:port (RFC 9113, section 8.3.1). Upper case is allowed, because hosts have no case.
func validateAuthority(s string) error {
	if s == "" || strings.ContainsAny(s, "{}") {
		return nil
	}
	return checkAuthority(s)
}

func checkAuthority(s string) error {
	if discovery.CheckAddr(s) == nil || discovery.CheckAddr(s+":1") == nil {
		return nil
	}
	return fmt.Errorf("%s: expected a host or host:port, such as api.internal", discovery.Excerpt(s))
}

// resolveAuthority replaces the placeholders of the option.
func resolveAuthority(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(s, true, true)
	if err != nil {
		return "", err
	}
	return resolved, checkAuthority(resolved)
}
