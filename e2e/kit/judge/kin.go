package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// kin is github.com/getkin/kin-openapi.
type kin struct{ doc *openapi3.T }

func readKin(raw []byte) (Judge, error) {
	var spelled any
	if err := json.Unmarshal(raw, &spelled); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	spellAnything(spelled)
	raw, err := json.Marshal(spelled)
	if err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return nil, fmt.Errorf("kin-openapi cannot read the document: %w", err)
	}
	return kin{doc}, nil
}

// spellAnything gives all types to the schemas that allow any value. Without a type, kin-openapi
// refuses null.
func spellAnything(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			spellAnything(item)
		}
	case map[string]any:
		for key, value := range v {
			spellAnything(value)
			members, _ := value.(map[string]any)
			switch key {
			case "items", "itemSchema", "schema", "additionalProperties":
				spellType(members)
			case "properties", "schemas":
				for _, member := range members {
					schema, _ := member.(map[string]any)
					spellType(schema)
				}
			}
		}
	}
}

func spellType(schema map[string]any) {
	if schema == nil {
		return
	}
	for _, key := range []string{"type", "$ref", "anyOf", "allOf", "oneOf", "not", "enum", "const"} {
		if _, ok := schema[key]; ok {
			return
		}
	}
	schema["type"] = []any{"null", "boolean", "number", "string", "array", "object"}
}

func (kin) Name() string { return "kin-openapi" }

func (k kin) Document() error { return k.doc.Validate(context.Background()) }

func (k kin) input(c *Call) *openapi3filter.RequestValidationInput {
	item := k.doc.Paths.Value(c.Operation.Path)
	r := c.Request.Clone(context.Background())
	r.Body = io.NopCloser(bytes.NewReader(c.RequestBody))
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: c.Params,
		Route: &routers.Route{
			Spec: k.doc, Path: c.Operation.Path, PathItem: item, Method: c.Operation.Method,
			Operation: item.GetOperation(c.Operation.Method),
		},
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true, SkipSettingDefaults: true,
			ExcludeRequestBody: c.RequestItems != nil, RejectWhenRequestBodyNotSpecified: true,
		},
	}
}

func (k kin) Request(c *Call) error {
	return openapi3filter.ValidateRequest(context.Background(), k.input(c))
}

func (k kin) Answer(c *Call) error {
	in := k.input(c)
	if c.Streams {
		response := in.Route.Operation.Responses.Status(c.Status)
		if response == nil || response.Value.Content.Get(c.Header.Get("Content-Type")) == nil {
			return fmt.Errorf("an answer with %d and the type %q is not described", c.Status, c.Header.Get("Content-Type"))
		}
		return nil
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Options: in.Options, Status: c.Status, Header: c.Header, Body: io.NopCloser(bytes.NewReader(c.Body)),
	})
}

// Items judges all messages at once, because the library compiles a schema for each value.
func (k kin) Items(c *Call, side Side, mediaType string, items []any) error {
	op := k.input(c).Route.Operation
	var content openapi3.Content
	visit := openapi3.VisitAsRequest()
	if side == SideRequest {
		content = op.RequestBody.Value.Content
	} else {
		visit = openapi3.VisitAsResponse()
		content = op.Responses.Status(c.Status).Value.Content
	}
	described := content.Get(mediaType)
	if described == nil {
		return fmt.Errorf("%s is not described", mediaType)
	}
	item := described.Schema
	if described.ItemSchema != nil {
		item = described.ItemSchema
	}
	if item == nil {
		return fmt.Errorf("the items of %s are not described", mediaType)
	}
	all := &openapi3.Schema{Type: &openapi3.Types{openapi3.TypeArray}, Items: item}
	return all.VisitJSON(items, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors(), visit)
}
