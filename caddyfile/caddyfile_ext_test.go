package caddyfile_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
	"github.com/caddy-grpc/gateway/module"
)

var update = flag.Bool("update", false, "rewrite the JSON in testdata")

// separator is between the Caddyfile and the JSON of a golden file.
const separator = "\n----------\n"

func adapt(t *testing.T, caddyfile string) ([]byte, error) {
	t.Helper()
	out, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("warning: %s", w)
		}
	}
	return out, err
}

// TestAdapt compares the JSON of Caddyfiles, and checks that Caddy would accept it.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(raw), separator)
			adapted, err := adapt(t, input+"\n")
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, adapted, "", "\t"); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != want {
				t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
			}
			strictlyDecoded(t, adapted)
		})
	}
}

// strictlyDecoded fails the test if a field of the gateway's config is unknown to the structs that
// Caddy decodes it into.
func strictlyDecoded(t *testing.T, config []byte) {
	t.Helper()
	var top struct {
		Apps struct {
			Gateway json.RawMessage `json:"grpc_gateway"`
			HTTP    struct {
				Servers map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(config, &top); err != nil {
		t.Fatal(err)
	}
	if top.Apps.Gateway != nil {
		if err := caddy.StrictUnmarshalJSON(top.Apps.Gateway, new(module.App)); err != nil {
			t.Errorf("the app: %v", err)
		}
	}
	for _, server := range top.Apps.HTTP.Servers {
		for _, raw := range handlers(t, server) {
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(raw, &fields); err != nil {
				t.Fatal(err)
			}
			delete(fields, "handler")
			stripped, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			if err := caddy.StrictUnmarshalJSON(stripped, new(module.Handler)); err != nil {
				t.Errorf("the handler: %v", err)
			}
		}
	}
}

// handlers finds the gateway's handlers in any JSON.
func handlers(t *testing.T, raw json.RawMessage) (found []json.RawMessage) {
	t.Helper()
	switch {
	case bytes.HasPrefix(raw, []byte("[")):
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			found = append(found, handlers(t, e)...)
		}
	case bytes.HasPrefix(raw, []byte("{")):
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatal(err)
		}
		if string(object["handler"]) == `"grpc_gateway"` {
			return []json.RawMessage{raw}
		}
		for _, e := range object {
			found = append(found, handlers(t, e)...)
		}
	}
	return found
}
