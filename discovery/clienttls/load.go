package clienttls

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Load makes the TLS config of a client and an ID for it. The ID changes with the settings and with
// the contents of the certificates that they name. It is a hash, so the ID of a source may show it.
// Load reads files and does not use the network. It leaves config as it is.
func Load(ctx caddy.Context, config *reverseproxy.TLSConfig) (*tls.Config, string, error) {
	resolved := *config
	var err error
	if resolved.ServerName, err = caddy.NewReplacer().ReplaceOrErr(config.ServerName, true, true); err != nil {
		return nil, "", fmt.Errorf("server_name: %w", err)
	}
	raw, err := json.Marshal(resolved) // before the CA module is loaded, which empties its part
	if err != nil {
		return nil, "", err
	}
	compiled, err := resolved.MakeTLSClientConfig(ctx)
	if err != nil {
		return nil, "", err
	}
	if compiled == nil { // all default
		compiled = new(tls.Config)
	}
	sum := sha256.New()
	sum.Write(raw)
	for _, cert := range compiled.Certificates {
		for _, der := range cert.Certificate {
			sum.Write(der)
		}
	}
	if err := hashFiles(sum, raw); err != nil {
		return nil, "", err
	}
	return compiled, hex.EncodeToString(sum.Sum(nil)), nil
}

// hashFiles writes the contents of the trusted certificates that the config names to sum. They are
// the files of the module file, at any depth, and of the deprecated list. The pool that was made of
// them cannot be read back.
func hashFiles(sum io.Writer, raw json.RawMessage) error {
	var config any
	if err := json.Unmarshal(raw, &config); err != nil {
		return err
	}
	for _, name := range pemFiles(config, false) {
		pem, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading trusted certificates: %w", err)
		}
		if _, err := sum.Write(pem); err != nil {
			return err
		}
	}
	return nil
}

// pemFiles finds the names of certificate files in a JSON value, in a fixed order.
func pemFiles(v any, named bool) (names []string) {
	switch v := v.(type) {
	case string:
		if named {
			names = append(names, v)
		}
	case []any:
		for _, e := range v {
			names = append(names, pemFiles(e, named)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			names = append(names, pemFiles(v[key], key == "pem_files" || key == "root_ca_pem_files")...)
		}
	}
	return names
}
