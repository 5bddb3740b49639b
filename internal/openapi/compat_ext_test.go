package openapi_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// operation is what the tests read of an operation.
type operation struct {
	Description string
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   map[string]any
	}
	RequestBody *struct {
		Content map[string]struct{ Schema map[string]any }
	}
	Responses map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]map[string]any
	}
}

func (o operation) parameter(name string) map[string]any {
	for _, p := range o.Parameters {
		if p.Name == name {
			return p.Schema
		}
	}
	return nil
}

type compatDocument struct {
	Paths      map[string]map[string]operation
	Components struct {
		Responses map[string]struct{ Content map[string]map[string]any }
	}
}

// described builds the document of the test services with the routes of a config.
func described(t *testing.T, cfg openapi.Config, table routes.Config) compatDocument {
	t.Helper()
	document, err := openapi.Build(cfg, compiled(t, &table, cfg.JSON).Bindings)
	if err != nil {
		t.Fatal(err)
	}
	var doc compatDocument
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func annotated() routes.Config { return routes.Config{Annotations: true} }

// TestResultLines expects streams in the form of grpc-gateway, and the errors that they begin with.
func TestResultLines(t *testing.T) {
	for version, key := range map[string]string{openapi.Version31: "schema", openapi.Version32: "itemSchema"} {
		doc := described(t, openapi.Config{Version: version, ResultLines: true}, annotated())
		stream := doc.Paths["/v1/stream"]["post"]
		content := stream.Responses["200"].Content
		if got := slices.Sorted(maps.Keys(content)); !slices.Equal(got, []string{"application/json", "text/event-stream"}) {
			t.Errorf("%s: a stream is offered as %v", version, got)
		}
		line := mustJSON(t, content["application/json"][key])
		for _, want := range []string{`"required":["result"]`, `{"$ref":"#/components/schemas/gateway.test.v1.EchoResponse"}`, `"required":["error"]`} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: no %s in %s", version, want, line)
			}
		}
		if got := stream.Responses["default"].Ref; got != "#/components/responses/StreamError" {
			t.Errorf("%s: the errors of a stream are %s", version, got)
		}
		for path, method := range map[string]string{"/v1/echo": "post", "/v1/collect": "post", "/v1/download/{count}": "get"} {
			if got := doc.Paths[path][method].Responses["default"].Ref; got != "#/components/responses/Error" {
				t.Errorf("%s: the errors of %s are %s", version, path, got)
			}
		}
		failed := mustJSON(t, doc.Components.Responses["StreamError"].Content["application/json"])
		if !strings.Contains(failed, `"required":["error"]`) || !strings.Contains(failed, `{"$ref":"#/components/schemas/google.rpc.Status"}`) {
			t.Errorf("%s: a stream fails with %s", version, failed)
		}
	}
	if doc := described(t, openapi.Config{}, annotated()); len(doc.Components.Responses) != 1 {
		t.Errorf("without the option there are %v", doc.Components.Responses)
	}
}

// TestEnvelopeOfStreams expects the last line of a stream that failed in the envelope, too.
func TestEnvelopeOfStreams(t *testing.T) {
	for streams, want := range map[bool]string{true: `"data":{"type":"null"}`, false: `"required":["error"]`} {
		doc := described(t, openapi.Config{Envelope: &frontend.Envelope{Code: "code", Message: "msg", Data: "data", Streams: streams}}, annotated())
		if line := mustJSON(t, doc.Paths["/v1/stream"]["post"].Responses["200"].Content["application/x-ndjson"]); !strings.Contains(line, want) {
			t.Errorf("streams %v: no %s in %s", streams, want, line)
		}
	}
}

func TestErrorForms(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  openapi.Config
		want []string
	}{
		"status":                      {openapi.Config{}, []string{"application/json", "application/problem+json"}},
		"problem":                     {openapi.Config{Errors: frontend.ProblemErrors}, []string{"application/json", "application/problem+json"}},
		"text":                        {openapi.Config{Errors: frontend.TextErrors}, []string{"application/problem+json", "text/plain"}},
		"pass":                        {openapi.Config{OwnErrors: true}, nil},
		"pass, with lines of results": {openapi.Config{OwnErrors: true, ResultLines: true}, nil},
	} {
		doc := described(t, tt.cfg, annotated())
		if got := slices.Sorted(maps.Keys(doc.Components.Responses["Error"].Content)); !slices.Equal(got, tt.want) || len(doc.Components.Responses) != 1 {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// TestFormQuery expects the query of a route without a body as a form, in words for GET.
func TestFormQuery(t *testing.T) {
	table := annotated()
	table.Routes = []routes.Route{{Method: "POST", Template: "/ask/{text}", RPC: "gateway.test.v1.Echo/Unary"}}
	doc := described(t, openapi.Config{FormQuery: true}, table)
	const form = "application/x-www-form-urlencoded"
	ask := doc.Paths["/ask/{text}"]["post"]
	if ask.RequestBody == nil || len(ask.RequestBody.Content) != 1 {
		t.Fatalf("the route without a body has the body %v", ask.RequestBody)
	}
	properties, _ := ask.RequestBody.Content[form].Schema["properties"].(map[string]any)
	if len(properties) != len(ask.Parameters)-1 || properties["count"] == nil || properties["text"] != nil {
		t.Errorf("the form has %v", slices.Sorted(maps.Keys(properties)))
	}
	if get := doc.Paths["/v1/echo/{text}"]["get"]; get.RequestBody != nil || !strings.Contains(get.Description, form) {
		t.Errorf("GET: %v, %q", get.RequestBody, get.Description)
	}
	if post := doc.Paths["/v1/echo"]["post"]; post.RequestBody == nil || post.RequestBody.Content[form].Schema != nil {
		t.Errorf("a route with a body: %v", post.RequestBody)
	}
	without := described(t, openapi.Config{}, table)
	if ask := without.Paths["/ask/{text}"]["post"]; ask.RequestBody != nil {
		t.Errorf("without the option: %v", ask.RequestBody)
	}
}

// TestWholeBody expects the whole message in the body, and each of its fields in the query.
func TestWholeBody(t *testing.T) {
	table := annotated()
	table.WholeBody = true
	doc := described(t, openapi.Config{}, table)
	create := doc.Paths["/v1/shelves/{parent_1}/books"]["post"]
	if create.RequestBody == nil {
		t.Fatalf("no body in %v", slices.Sorted(maps.Keys(doc.Paths)))
	}
	if got := mustJSON(t, create.RequestBody.Content["application/json"]); !strings.Contains(got, "CreateBookRequest-input") {
		t.Errorf("the body is %s", got)
	}
	if create.parameter("bookId") == nil || create.parameter("book.title") == nil || create.parameter("parent") != nil {
		t.Errorf("the query has %v", create.Parameters)
	}
	get := doc.Paths["/v1/echo/{text}"]["get"]
	if get.RequestBody != nil || get.parameter("count") == nil {
		t.Errorf("GET: %v", get)
	}
}

// A body need not have the field that the path gives, even if it is required. With request_body
// message no field is required, because the query may give it.
func TestRequiredFieldsElsewhere(t *testing.T) {
	required := func(wholeBody bool) string {
		for _, op := range shopTable(t, wholeBody).Bindings {
			if op.Method.Name != "shop.v1.Shop/CreateOrder" {
				continue
			}
			document, err := openapi.Build(openapi.Config{}, []*frontend.Binding{op})
			if err != nil {
				t.Fatal(err)
			}
			var doc compatDocument
			if err := json.Unmarshal(document, &doc); err != nil {
				t.Fatal(err)
			}
			for _, p := range doc.Paths["/v1/customers/{customer_1}/orders"]["post"].Parameters {
				if p.In == "query" && p.Required {
					t.Errorf("the query parameter %s is required", p.Name)
				}
			}
			return mustJSON(t, doc.Paths["/v1/customers/{customer_1}/orders"]["post"].RequestBody.Content["application/json"].Schema["required"])
		}
		return "no such method"
	}
	if got := required(false); got != `["order"]` {
		t.Errorf("the body requires %s", got)
	}
	if got := required(true); got != "null" {
		t.Errorf("with request_body message the body requires %s", got)
	}
}

// TestLenientText expects the texts that Go's package strconv takes.
func TestLenientText(t *testing.T) {
	for lenient, want := range map[bool]map[string]string{
		false: {"flag": `{"type":"boolean"}`, "big": `"^-?[0-9]+$"`, "lag": `s$"`},
		true:  {"flag": `"True"`, "big": `"^[+-]?[0-9]+$"`, "lag": "|m|h"},
	} {
		doc := described(t, openapi.Config{Options: openapi.Options{JSON: transcode.Options{LenientText: lenient}}}, annotated())
		get := doc.Paths["/v1/echo"]["get"]
		for name, part := range want {
			if got := mustJSON(t, get.parameter(name)); !strings.Contains(got, part) {
				t.Errorf("lenient %v: no %s in %s: %s", lenient, part, name, got)
			}
		}
		if body := mustJSON(t, doc.Paths["/v1/echo"]["post"].RequestBody); strings.Contains(body, "True") {
			t.Error("the body is lenient, too")
		}
	}
}
