package routes

import (
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/httprule"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

func rulePattern(rule *annotations.HttpRule) (method, template string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get
	case *annotations.HttpRule_Put:
		return "PUT", p.Put
	case *annotations.HttpRule_Post:
		return "POST", p.Post
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch
	case *annotations.HttpRule_Custom:
		return p.Custom.GetKind(), p.Custom.GetPath()
	default:
		return "", ""
	}
}

func newBinding(m *frontend.Method, method, template, body, responseBody string) (*frontend.Binding, error) {
	if method == "" {
		return nil, errors.New("the rule has no HTTP method")
	}
	t, err := httprule.Parse(template)
	if err != nil {
		return nil, err
	}
	b := &frontend.Binding{Method: m, HTTPMethod: method, Template: t, Idempotent: m.Idempotent || isIdempotent(method)}
	for _, name := range t.Variables() {
		f, err := variable(m.Request, name)
		if err != nil {
			return nil, fmt.Errorf("path variable %q: %w", name, err)
		}
		b.Vars = append(b.Vars, f)
	}
	switch body {
	case "":
	case "*":
		b.BodyAll = true
	default:
		if b.Body, err = m.Request.Field(body); err != nil {
			return nil, fmt.Errorf("body %q: %w", body, err)
		}
	}
	if responseBody != "" {
		if b.ResponseBody, err = m.Response.Field(responseBody); err != nil {
			return nil, fmt.Errorf("response_body %q: %w", responseBody, err)
		}
	}
	return b, nil
}

// variable finds the field of a path variable. It can be neither repeated nor a message
// (http.proto), except for the well-known types that are a string or a number in JSON.
func variable(c *transcode.Codec, name string) (*transcode.Field, error) {
	f, err := c.Field(name)
	if err != nil {
		return nil, err
	}
	fd := f.Descriptor()
	if fd.IsList() || fd.IsMap() {
		return nil, fmt.Errorf("field %s is repeated", fd.FullName())
	}
	if msg := fd.Message(); msg != nil && !isScalarInJSON(msg) {
		return nil, fmt.Errorf("field %s is a message", fd.FullName())
	}
	return f, nil
}

func isScalarInJSON(md protoreflect.MessageDescriptor) bool {
	if md.ParentFile().Package() != "google.protobuf" {
		return false
	}
	switch md.Name() {
	case "Timestamp", "Duration", "FieldMask", "StringValue", "BytesValue", "BoolValue",
		"Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue":
		return true
	default:
		return false
	}
}

// isIdempotent says which HTTP methods promise that a request may be repeated (RFC 9110, section
// 9.2.2).
func isIdempotent(method string) bool {
	return method == "GET" || method == "PUT" || method == "DELETE" || method == "HEAD"
}
