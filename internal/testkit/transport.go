package testkit

import (
	"encoding/json"
	"fmt"
	"os"
)

// Transport returns the transport that the tests are to be run over, or "" for the default. The
// environment variable GATEWAY_TRANSPORT chooses it.
func Transport() string { return os.Getenv("GATEWAY_TRANSPORT") }

// WithTransport returns a config of Caddy, as JSON, in which every upstream and catalog uses
// Transport. Those that choose one themselves keep it.
func WithTransport(config []byte) ([]byte, error) {
	transport := Transport()
	if transport == "" {
		return config, nil
	}
	var whole any
	if err := json.Unmarshal(config, &whole); err != nil {
		return nil, fmt.Errorf("the config: %w", err)
	}
	setTransport(whole, transport)
	return json.Marshal(whole)
}

// setTransport goes through a config. What has a source of instances is an upstream. What has a
// registry is a catalog, whose upstream is a template.
func setTransport(part any, transport string) {
	switch part := part.(type) {
	case map[string]any:
		if _, ok := part["discover"].(map[string]any); ok && part["transport"] == nil {
			part["transport"] = transport
		}
		if _, ok := part["registry"].(map[string]any); ok {
			template, ok := part["upstream"].(map[string]any)
			if !ok {
				template = make(map[string]any)
				part["upstream"] = template
			}
			if template["transport"] == nil {
				template["transport"] = transport
			}
		}
		for _, child := range part {
			setTransport(child, transport)
		}
	case []any:
		for _, child := range part {
			setTransport(child, transport)
		}
	}
}
