package caddyfile_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/discovery/dns"
	"github.com/caddy-grpc/gateway/discovery/etcd"
	"github.com/caddy-grpc/gateway/discovery/static"
	"github.com/caddy-grpc/gateway/module"
)

// page returns the reference of all options.
func page(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestCaddyfilesOfTheReference validates the complete Caddyfiles, as `caddy validate` does.
func TestCaddyfilesOfTheReference(t *testing.T) {
	blocks := regexp.MustCompile("(?s)\n```caddyfile\n(.*?)```\n").FindAllStringSubmatch(page(t), -1)
	if len(blocks) < 3 {
		t.Fatalf("%d Caddyfiles, want 3 or more", len(blocks))
	}
	for _, block := range blocks {
		t.Run(strings.Fields(block[1])[0], func(t *testing.T) {
			adapted, err := adapt(t, block[1])
			if err != nil {
				t.Fatal(err)
			}
			strictlyDecoded(t, adapted)
			var config *caddy.Config
			if err := json.Unmarshal(adapted, &config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(config); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReferenceIsComplete looks for the JSON name of each field of the config.
func TestReferenceIsComplete(t *testing.T) {
	names := make(map[string]string)
	for _, v := range []any{module.App{}, module.Handler{}, etcd.Source{}, etcd.Catalog{}, static.Source{}, dns.Source{}} {
		jsonNames(reflect.TypeOf(v), names)
	}
	if len(names) < 60 {
		t.Errorf("%d names of fields found, want 60 or more", len(names))
	}
	text := page(t)
	for name, field := range names {
		if !regexp.MustCompile("`[^`\n]*\\b" + name + "\\b[^`\n]*`").MatchString(text) {
			t.Errorf("the page does not have %s, which is %s", name, field)
		}
	}
}

// jsonNames collects the JSON names of the fields of this project's structs.
func jsonNames(t reflect.Type, names map[string]string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		jsonNames(t.Elem(), names)
		return
	case reflect.Struct:
	default:
		return
	}
	if !strings.HasPrefix(t.PkgPath(), "github.com/caddy-grpc/gateway/") {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" && !f.Anonymous {
			continue
		}
		if name != "" {
			names[name] = t.Name() + "." + f.Name
		}
		jsonNames(f.Type, names)
	}
}
