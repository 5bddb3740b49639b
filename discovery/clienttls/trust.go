package clienttls

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// caModule is the part of a module in the namespace tls.ca_pool.source that matters here.
type caModule struct {
	Provider     string            `json:"provider"`
	PEMFiles     []string          `json:"pem_files,omitempty"`
	TrustedCerts []string          `json:"trusted_ca_certs,omitempty"`
	Sources      []json.RawMessage `json:"sources,omitempty"`
}

// trusted returns the CA module of a config. Deprecated lists are turned into one. The result is
// nil if the config has neither.
func trusted(config *reverseproxy.TLSConfig) (json.RawMessage, error) {
	var parts []json.RawMessage
	for _, m := range []caModule{
		{Provider: "inline", TrustedCerts: config.RootCAPool}, //nolint:staticcheck // It works as long as Caddy has it.
		{Provider: "file", PEMFiles: config.RootCAPEMFiles},   //nolint:staticcheck // The same.
	} {
		if len(m.TrustedCerts)+len(m.PEMFiles) == 0 {
			continue
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		parts = append(parts, raw)
	}
	if len(parts) == 0 {
		return slices.Clone(config.CARaw), nil
	}
	return json.Marshal(caModule{Provider: "combined", Sources: parts})
}

// caFiles returns the files of a CA module. ok is false if the module, or a part of it, can only be
// loaded with the config that it belongs to.
func caFiles(raw json.RawMessage) (files []string, ok bool) {
	if len(raw) == 0 {
		return nil, true
	}
	var m caModule
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, false
	}
	switch m.Provider {
	case "file":
		return m.PEMFiles, true
	case "inline":
		return nil, true
	case "combined":
		for _, source := range m.Sources {
			more, ok := caFiles(source)
			if !ok {
				return nil, false
			}
			files = append(files, more...)
		}
		return files, true
	}
	return nil, false
}

// loadPool loads a CA module that needs nothing of a config.
func loadPool(ca json.RawMessage) (*x509.CertPool, error) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	config := reverseproxy.TLSConfig{CARaw: slices.Clone(ca)} // which loading empties
	made, err := config.MakeTLSClientConfig(ctx)
	if err != nil {
		return nil, err
	}
	return made.RootCAs, nil
}

// pemFiles finds the names of certificate files in a JSON value, in a fixed order.
func pemFiles(raw json.RawMessage) ([]string, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return named(value, false), nil
}

func named(v any, isFile bool) (names []string) {
	switch v := v.(type) {
	case string:
		if isFile {
			names = append(names, v)
		}
	case []any:
		for _, e := range v {
			names = append(names, named(e, isFile)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			names = append(names, named(v[key], key == "pem_files")...)
		}
	}
	return names
}
