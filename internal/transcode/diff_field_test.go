package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A fieldPath is a field to bind: its path for the codec, and its descriptors for reflection.
type fieldPath struct {
	path   string // "recursive_message.mapStringString[key]"
	fields []protoreflect.FieldDescriptor
	key    *string // of a map entry
}

func (f *fieldPath) last() protoreflect.FieldDescriptor { return f.fields[len(f.fields)-1] }

// fieldPathOf picks a path of fields in a message. ok is false if there is none. The path does not
// lead into messages that have a JSON form of their own, because the oracle cannot name their
// fields.
func fieldPathOf(t *tape, md protoreflect.MessageDescriptor, withKey bool) (f fieldPath, ok bool) {
	var names []string
	for depth := 0; md.Fields().Len() > 0 && !isKnownType(md); depth++ {
		fd := md.Fields().Get(t.n(md.Fields().Len()))
		names = append(names, pick(t, fd.JSONName(), fd.TextName()))
		f.fields = append(f.fields, fd)
		if fd.Message() == nil || fd.IsList() || fd.IsMap() || depth > 3 || t.oneIn(2) {
			f.path, ok = strings.Join(names, "."), true
			break
		}
		md = fd.Message()
	}
	// A name with a dot in it cannot be written in a path.
	for _, name := range names {
		ok = ok && !strings.ContainsAny(name, `.[]"\@ `)
	}
	if ok && withKey && f.last().IsMap() {
		f.key = new(string)
		f.path += "[" + *f.key + "]"
	}
	return f, ok
}

// wrap returns the JSON text in which the field has this value.
func (f *fieldPath) wrap(value string) []byte {
	text := value
	for i := len(f.fields) - 1; i >= 0; i-- {
		name, _ := json.Marshal(f.fields[i].JSONName()) // cannot fail
		text = "{" + string(name) + ":" + text + "}"
	}
	return []byte(text)
}

// fieldJSONTrial binds a JSON value to a field. The oracle reads the same value in its place in a
// whole message.
func fieldJSONTrial(p *pair, t *tape) trial {
	f, ok := fieldPathOf(t, p.md, false)
	if !ok {
		return trial{}
	}
	g := &jsonGen{tape: t, schema: p.schema, wild: t.oneIn(3), budget: 30}
	value := []byte(g.field(f.last(), 1))
	if g.wild && g.oneIn(4) {
		value = g.damage(value)
	}
	return trial{value, func(value []byte) error { return p.compareFieldJSON(f, string(value)) }}
}

func (p *pair) compareFieldJSON(f fieldPath, value string) error {
	field, err := p.ours.Field(f.path)
	if err != nil {
		return fmt.Errorf("no field %q: %w", f.path, err)
	}
	got, gotErr := field.AppendJSON([]byte(prefix), []byte(value))
	if err := checkAppend(got, gotErr); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	whole := f.wrap(value)
	want, wantErr := p.partial().fromJSON(whole)
	if wantErr == nil && !oneValue(value) {
		wantErr = errors.New("is not one value")
	}
	switch {
	case gotErr != nil && wantErr == nil && !p.mayRefuseJSON(whole):
		return fmt.Errorf("%s: refused: %w\noracle accepts: %s", f.path, gotErr, p.show(want))
	case gotErr != nil:
		return checkSyntaxError(gotErr, len(value))
	case wantErr != nil:
		return fmt.Errorf("%s: accepted as %x\noracle refuses: %w", f.path, got[len(prefix):], wantErr)
	}
	if err := p.sameFragment(got[len(prefix):], want); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// bareExponent matches a token that protojson reads as a number only if something follows it.
var bareExponent = regexp.MustCompile(`[0-9][eE]$`)

// oneValue reports whether a text, which is valid within an object, is a single value without a
// further member after it.
func oneValue(text string) bool {
	if bareExponent.MatchString(text) {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && inString:
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 0:
			return false
		}
	}
	return depth == 0
}

// sameFragment is sameMessage without a check of required fields, which a fragment need not have.
func (p *pair) sameFragment(wire []byte, want proto.Message) error {
	got := dynamicpb.NewMessage(p.md)
	if err := p.parsePartial(wire, got); err != nil {
		return fmt.Errorf("wrote %x, which is not a message: %w", wire, err)
	}
	if err := errors.Join(p.canonicalAnys(got), p.canonicalAnys(want.ProtoReflect())); err != nil {
		return err
	}
	marshal := proto.MarshalOptions{Deterministic: true, AllowPartial: true}
	gotBytes, err := marshal.Marshal(got)
	if err != nil {
		return err
	}
	wantBytes, err := marshal.Marshal(want)
	if err != nil {
		return err
	}
	if !bytes.Equal(gotBytes, wantBytes) {
		return fmt.Errorf("wrote   %x\nwhich is %s\noracle's %s", wire, p.show(got), p.show(want))
	}
	return nil
}

// partialOracle parses JSON without a check of required fields, because other parts of the message
// may come from elsewhere.
type partialOracle struct{ *pair }

func (p *pair) partial() partialOracle { return partialOracle{p} }

func (p partialOracle) fromJSON(text []byte) (proto.Message, error) {
	msg := dynamicpb.NewMessage(p.md)
	opts := protojson.UnmarshalOptions{AllowPartial: true, DiscardUnknown: p.opts.DiscardUnknown, Resolver: p.types}
	return msg, opts.Unmarshal(text, msg)
}
