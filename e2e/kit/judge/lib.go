package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	liberrors "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/helpers"
	"github.com/pb33f/libopenapi-validator/requests"
	"github.com/pb33f/libopenapi-validator/responses"
	"github.com/pb33f/libopenapi/datamodel"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"
)

// lib is github.com/pb33f/libopenapi-validator.
type lib struct {
	model     *v3.Document
	validator validator.Validator
	options   *config.ValidationOptions
}

func readLib(raw []byte) (Judge, error) {
	// The library takes a message that always has a list of its own kind for endless, although the
	// list may be empty.
	doc, err := libopenapi.NewDocumentWithConfiguration(raw, &datamodel.DocumentConfiguration{SkipCircularReferenceCheck: true})
	if err != nil {
		return nil, fmt.Errorf("libopenapi cannot read the document: %w", err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		return nil, fmt.Errorf("libopenapi cannot read the document: %w", err)
	}
	options := config.NewValidationOptions(config.WithFormatAssertions(), config.WithContentAssertions(), config.WithStandardBodyDecoders(),
		config.WithRejectUndeclaredRequestBody())
	v := validator.NewValidatorFromV3Model(&model.Model, config.WithExistingOpts(options))
	v.SetDocument(doc)
	return &lib{model: &model.Model, validator: v, options: options}, nil
}

func (*lib) Name() string { return "libopenapi-validator" }

func (l *lib) Document() error {
	_, errs := l.validator.ValidateDocument()
	return joined(errs)
}

// joined makes one error of what the library says.
func joined(all []*liberrors.ValidationError) error {
	var out []error
	for _, e := range all {
		text := e.Message + ": " + e.Reason
		for _, s := range e.SchemaValidationErrors {
			text += "; at /" + strings.Join(s.InstancePath, "/") + ": " + s.Reason
		}
		out = append(out, errors.New(text))
	}
	return errors.Join(out...)
}

func (l *lib) input(c *Call) (*http.Request, *v3.PathItem) {
	r := c.Request.Clone(context.Background())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(c.RequestBody)), int64(len(c.RequestBody))
	if len(c.RequestBody) == 0 {
		r.Body = http.NoBody
	}
	r.GetBody = nil
	return r, l.model.Paths.PathItems.GetOrZero(c.Operation.Path)
}

func (l *lib) Request(c *Call) error {
	r, item := l.input(c)
	if c.RequestItems != nil {
		// The parameters only. The type of the body is judged by Items.
		r.Body, r.ContentLength = http.NoBody, 0
		r.Header.Del("Content-Type")
	}
	_, errs := l.validator.ValidateHttpRequestSyncWithPathItem(r, item, c.Operation.Path)
	return joined(errs)
}

func (l *lib) answer(c *Call) *http.Response {
	return &http.Response{StatusCode: c.Status, Header: c.Header, Body: io.NopCloser(bytes.NewReader(c.Body))}
}

// Answer judges a stream by its status and its type. The library takes the body of NDJSON for one
// JSON value, because the name of the type has "json" in it.
func (l *lib) Answer(c *Call) error {
	r, item := l.input(c)
	if c.Streams {
		response := helpers.ExtractOperation(r, item).Responses.Codes.GetOrZero(fmt.Sprint(c.Status))
		if response == nil {
			return fmt.Errorf("an answer with %d is not described", c.Status)
		}
		if _, ok := helpers.FindMediaType(response.Content, c.Header.Get("Content-Type")); !ok {
			return fmt.Errorf("an answer of the type %q is not described", c.Header.Get("Content-Type"))
		}
		return nil
	}
	_, errs := l.validator.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(r, l.answer(c), item, c.Operation.Path) //nolint:bodyclose // It is in memory.
	return joined(errs)
}

func (l *lib) Items(c *Call, side Side, mediaType string, items []any) error {
	r, item := l.input(c)
	op := helpers.ExtractOperation(r, item)
	var content *orderedmap.Map[string, *v3.MediaType]
	if side == SideRequest {
		content = op.RequestBody.Content
	} else {
		content = op.Responses.Codes.GetOrZero(fmt.Sprint(c.Status)).Content
	}
	described, ok := helpers.FindMediaType(content, mediaType)
	if !ok {
		return fmt.Errorf("%s is not described", mediaType)
	}
	proxy := described.Schema
	if described.ItemSchema != nil {
		proxy = described.ItemSchema
	}
	if proxy == nil {
		return fmt.Errorf("the items of %s are not described", mediaType)
	}
	var all []error
	for i, value := range items {
		if err := l.item(c, r, side, proxy.Schema(), value); err != nil {
			all = append(all, fmt.Errorf("message %d: %w", i+1, err))
		}
	}
	return errors.Join(all...)
}

func (l *lib) item(c *Call, r *http.Request, side Side, schema *base.Schema, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	options := []config.Option{config.WithExistingOpts(l.options)}
	version := helpers.VersionToFloat(l.model.Version)
	var errs []*liberrors.ValidationError
	if side == SideRequest {
		_, errs = requests.ValidateRequestSchema(&requests.ValidateRequestSchemaInput{
			Request: r, Schema: schema, Version: version, Options: options, DecodedValue: value, ValueDecoded: true, RawBody: raw,
		})
	} else {
		_, errs = responses.ValidateResponseSchema(&responses.ValidateResponseSchemaInput{
			Request: r, Response: l.answer(c), //nolint:bodyclose // It is in memory.
			Schema: schema, Version: version, Options: options,
			DecodedValue: value, ValueDecoded: true, RawBody: raw,
		})
	}
	return joined(errs)
}
