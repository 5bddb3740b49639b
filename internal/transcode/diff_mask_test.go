package transcode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldMaskTrial asks which fields a JSON text sets. The oracle reads the text with encoding/json.
func fieldMaskTrial(p *pair, t *tape) trial {
	if isKnownType(p.md) {
		return trial{}
	}
	return trial{genJSON(t, p.schema, p.md, t.oneIn(3)), p.compareFieldMask}
}

func (p *pair) compareFieldMask(text []byte) error {
	got, gotErr := p.ours.FieldMask(text)
	if gotErr != nil {
		if err := checkSyntaxError(gotErr, len(text)); err != nil {
			return err
		}
	}
	if _, err := p.oracle.FromJSON(text); err != nil || !json.Valid(text) {
		return nil //nolint:nilerr // what JSONToWire refuses has no mask, and FieldMask need not notice
	}
	if gotErr != nil {
		if p.mayRefuseJSON(text) {
			return nil
		}
		return fmt.Errorf("refused: %w", gotErr)
	}
	want, err := maskOf(p.md, text, "")
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("found    %q\noracle's %q", got, want)
	}
	return nil
}

// maskOf returns the paths of the fields that a JSON object sets.
func maskOf(md protoreflect.MessageDescriptor, text []byte, prefix string) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil { // the brace
		return nil, err
	}
	var paths []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("key %v is not a string", key)
		}
		fd := md.Fields().ByJSONName(name)
		if fd == nil {
			fd = md.Fields().ByTextName(name)
		}
		if fd == nil {
			continue
		}
		path := prefix + string(fd.Name())
		if !leadsOn(fd, value) {
			paths = append(paths, path)
			continue
		}
		inner, err := maskOf(fd.Message(), value, path+".")
		if err != nil {
			return nil, err
		}
		paths = append(paths, inner...)
	}
	return paths, nil
}

// leadsOn reports whether a path leads into the value of a field.
func leadsOn(fd protoreflect.FieldDescriptor, value json.RawMessage) bool {
	if fd.Message() == nil || fd.IsList() || fd.IsMap() || isKnownType(fd.Message()) || fd.Message().FullName() == "google.protobuf.Empty" {
		return false
	}
	text := strings.TrimSpace(string(value))
	return strings.HasPrefix(text, "{") && strings.TrimSpace(strings.Trim(text, "{}")) != ""
}
