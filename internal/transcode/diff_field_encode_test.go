package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// fieldOfWireTrial takes one field out of a message, as a response_body does.
func fieldOfWireTrial(p *pair, t *tape) trial {
	f, ok := fieldPathOf(t, p.md, false)
	if !ok {
		return trial{}
	}
	wire := genWire(t, p.schema, p.md, t.n(wireLevels))
	return trial{wire, func(wire []byte) error { return p.compareFieldOfWire(f, wire) }}
}

func (p *pair) compareFieldOfWire(f fieldPath, wire []byte) error {
	field, err := p.ours.Field(f.path)
	if err != nil {
		return fmt.Errorf("no field %q: %w", f.path, err)
	}
	got, gotErr := field.WireToJSON([]byte(prefix), wire)
	if err := checkAppend(got, gotErr); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	msg, err := p.oracle.FromWire(wire)
	if err != nil {
		// The codec need not look into other fields than the one it is asked for. So only a wrong
		// result counts, not a missing refusal.
		return nil //nolint:nilerr // see above
	}
	want, wantErr := p.fieldAsJSON(&f, msg.ProtoReflect())
	switch {
	case errors.Is(wantErr, oracle.ErrPanic):
		return nil
	case gotErr != nil && wantErr == nil && !p.mayRefuseWire(wire):
		return fmt.Errorf("%s: refused: %w\noracle writes %s", f.path, gotErr, want)
	case gotErr != nil:
		return nil //nolint:nilerr // refused, as by the oracle
	case wantErr != nil:
		return fmt.Errorf("%s: accepted as %s\noracle refuses: %w", f.path, got[len(prefix):], wantErr)
	case !bytes.Equal(got[len(prefix):], want):
		return fmt.Errorf("%s: wrote    %s\noracle's %s", f.path, got[len(prefix):], want)
	}
	if f.last().IsMap() {
		return p.compareEntriesOfWire(f, wire, want)
	}
	return nil
}

// compareEntriesOfWire takes the entries of a map out of a message one by one, and compares them
// with the whole map.
func (p *pair) compareEntriesOfWire(f fieldPath, wire, whole []byte) error {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(whole, &entries); err != nil {
		return err
	}
	for key, want := range entries {
		if strings.Contains(key, "][") || strings.Contains(key, "].") {
			continue // a path cannot name it
		}
		path := f.path + "[" + key + "]"
		field, err := p.ours.Field(path)
		if err != nil {
			return fmt.Errorf("no field %q: %w", path, err)
		}
		got, err := field.WireToJSON(nil, wire)
		if err != nil {
			return fmt.Errorf("%s: refused: %w\nin the map %s", path, err, want)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s: wrote    %s\nin the map %s", path, got, want)
		}
	}
	return nil
}

// fieldAsJSON returns the JSON form of the field. The oracle writes a message with only that field
// set, and the value is cut out of it. An absent message is null, and any other absent field is its
// default.
func (p *pair) fieldAsJSON(f *fieldPath, m protoreflect.Message) (_ []byte, err error) {
	defer oracle.RecoverPanic(&err)
	for _, fd := range f.fields[:len(f.fields)-1] {
		m = m.Get(fd).Message()
	}
	fd := f.last()
	v := m.Get(fd)
	switch {
	case fd.IsMap() && v.Map().Len() == 0:
		return []byte("{}"), nil
	case fd.IsList() && v.List().Len() == 0:
		return []byte("[]"), nil
	case fd.Message() != nil && !fd.IsMap() && !fd.IsList() && !m.Has(fd):
		return []byte("null"), nil
	}
	only := dynamicpb.NewMessage(fd.ContainingMessage())
	only.Set(fd, v)
	opts := protojson.MarshalOptions{
		UseProtoNames:     p.opts.UseProtoNames,
		UseEnumNumbers:    p.opts.EnumsAsNumbers,
		EmitDefaultValues: p.opts.EmitDefaults || !only.Has(fd),
		EmitUnpopulated:   p.opts.EmitUnpopulated,
		AllowPartial:      true,
		Resolver:          p.types,
	}
	text, err := opts.Marshal(only)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	name := fd.JSONName()
	if p.opts.UseProtoNames {
		name = fd.TextName()
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, members[name]); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// isKnownType reports whether a message has a JSON form of its own, which does not show its fields.
func isKnownType(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Any", "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask",
		"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue":
		return true
	default:
		return isWrapper(md)
	}
}
