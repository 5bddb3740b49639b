package openapi_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-grpc/gateway/internal/openapi"
)

// FuzzYAML writes texts as names, members and elements, and reads them back with a library.
func FuzzYAML(f *testing.F) {
	for _, text := range []string{
		"", "plain", "two words", "on", "NULL", "1.5", "0x1f", "1_000", "2026-01-01", "- a", "a: b", "a #b", "#a", "?", "~", "<<", "=", "!x", "&x", "*x", "%x", "@x", "`x`",
		"a\nb", "a\n\n b\n", "a\n  - b\n\tc", "\n", " a\nb", "a \nb ", "a\r\nb", "\u0085", "\u2028", "\u00a0", "\ufeff", "\x7f", "\x00", "é😀", "a\n\u0090",
		"/v1/{name}:cancel", "^[a-z]+$", "application/json", "*/*", "yes", "'", `"`, `\`, "{}", "[]", "a,", "a:", "---", "...", ".inf", "+1", "e1", "|-", ">",
		strings.Repeat("k", 1100), strings.Repeat("k: ", 400),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("JSON has valid texts only")
		}
		want := map[string]any{
			"name " + text: text, text: []any{text, map[string]any{"a": text, "b": []any{}}, []any{text, []any{text}}},
			"z": map[string]any{"deep": map[string]any{"deeper": text}, "none": map[string]any{}}, "n": []any{nil, true, "end"},
		}
		document, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		out, err := openapi.YAML(document)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := yaml.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %#v\nwant %#v\nin\n%s", got, want, out)
		}
	})
}
