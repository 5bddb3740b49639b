package openapi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// shop are the routes of a service with every option that is read. Its options are declared in
// testdata only, so the gateway knows them from the schema and from nowhere else.
func shop(t *testing.T) []*frontend.Binding {
	t.Helper()
	return shopTable(t, false).Bindings
}

func shopTable(t *testing.T, wholeBody bool) *routes.Table {
	t.Helper()
	s, err := schema.ProtoFiles([]string{"testdata/options/shop.proto"}, []string{"testdata/options"}).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return compileTable(t, &routes.Config{Annotations: true, WholeBody: wholeBody}, s, transcode.Options{})
}

// TestGoldenOptions shows what becomes of the options of an author: field_behavior, field_info,
// deprecated, and those of protovalidate, openapiv2 and gnostic.
func TestGoldenOptions(t *testing.T) {
	document, err := openapi.Build(openapi.Config{Title: "fallback"}, shop(t))
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, document, "", "\t"); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	const name = "testdata/shop-3.1.json"
	if *update {
		if err := os.WriteFile(name, indented.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(indented.Bytes(), want) {
		t.Errorf("the document differs from %s; look at it, and run the test with -update", name)
	}
}

// shopSchema is a part of a schema of the shop.
type shopSchema struct {
	Required   []string
	Properties map[string]map[string]any
}

func shopSchemas(t *testing.T, cfg openapi.Config) map[string]shopSchema {
	t.Helper()
	document, err := openapi.Build(cfg, shop(t))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct{ Schemas map[string]shopSchema }
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Components.Schemas
}

// Nobody checks answers, so they are described without the rules for requests. That is so even if
// nothing else tells the two apart.
func TestAnswersHaveNoRules(t *testing.T) {
	for name, cfg := range map[string]openapi.Config{
		"default":         {},
		"discard unknown": {Options: openapi.Options{JSON: transcode.Options{DiscardUnknown: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			all := shopSchemas(t, cfg)
			answer, request := all["shop.v1.Order"].Properties, all["shop.v1.Order-input"].Properties
			for field, keyword := range map[string]string{"mail": "maxLength", "count": "maximum", "lines": "minItems", "note": "maxLength"} {
				if request[field][keyword] == nil {
					t.Errorf("requests: no %s in %v", keyword, request[field])
				}
				if answer[field] == nil || answer[field][keyword] != nil {
					t.Errorf("answers: %s in %v", keyword, answer[field])
				}
			}
			if all["shop.v1.Label"].Properties["text"]["maxLength"] != nil || all["shop.v1.Label-input"].Properties["text"]["maxLength"] == nil {
				t.Errorf("a message whose only difference is a rule: %v, %v", all["shop.v1.Label"], all["shop.v1.Label-input"])
			}
		})
	}
}

// TestCommentsFromElsewhere expects words for a schema, but no declarations.
func TestCommentsFromElsewhere(t *testing.T) {
	document, err := openapi.Build(openapi.Config{Options: openapi.Options{Comments: func(name protoreflect.FullName) string {
		return map[protoreflect.FullName]string{
			"shop.v1.Order.count": " How many.\n", "shop.v1.OldShop": " Closed.\n", "shop.v1.Shop.GetOrder": " Not shown: the option wins.\n",
			"shop.v1.Secret": " Not there.\n", "shop.v1.GetOrderRequest.language": "  \n",
		}[name]
	}}}, shop(t))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"How many.": true, "Closed.": true, "Not shown": false, "Secret": false, "Not there.": false,
		"A language.": true, "Nobody calls this": false,
	} {
		if got := strings.Contains(string(document), text); got != want {
			t.Errorf("%q is there: %v", text, got)
		}
	}
}
