package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// prefix is before what the codec appends, and must still be there afterwards.
const prefix = "prefix\x00"

// compareJSON converts JSON to wire both ways and reports how the results differ.
func (p *pair) compareJSON(text []byte) error {
	given := bytes.Clone(text)
	got, gotErr := p.ours.JSONToWire([]byte(prefix), text)
	if !bytes.Equal(given, text) {
		return fmt.Errorf("JSONToWire changed its input to %q", text)
	}
	if err := checkAppend(got, gotErr); err != nil {
		return err
	}
	want, wantErr := p.oracle.FromJSON(text)
	if gotErr != nil {
		if err := checkSyntaxError(gotErr, len(text)); err != nil {
			return err
		}
		if wantErr == nil && !p.mayRefuseJSON(text) {
			return fmt.Errorf("refused: %w\noracle accepts: %s", gotErr, p.show(want))
		}
		return nil
	}
	wire := got[len(prefix):]
	if wantErr != nil {
		return fmt.Errorf("accepted as %x\noracle refuses: %w", wire, wantErr)
	}
	return p.sameMessage(wire, want)
}

// sameMessage reports how wire differs from a message.
func (p *pair) sameMessage(wire []byte, want proto.Message) error {
	got, err := p.oracle.FromWire(wire)
	if err != nil {
		return fmt.Errorf("wrote %x, which is no message: %w", wire, err)
	}
	gotBytes, err := p.canonical(got)
	if err != nil {
		return err
	}
	wantBytes, err := p.canonical(want)
	if err != nil {
		return err
	}
	if !bytes.Equal(gotBytes, wantBytes) {
		return fmt.Errorf("wrote   %x\nwhich is %s\noracle's %s\ncanonical %x\noracle's  %x", wire, p.show(got), p.show(want), gotBytes, wantBytes)
	}
	return nil
}

// compareWire converts wire to JSON both ways and reports how the results differ.
func (p *pair) compareWire(wire []byte) error {
	given := bytes.Clone(wire)
	got, gotErr := p.ours.WireToJSON([]byte(prefix), wire)
	if !bytes.Equal(given, wire) {
		return fmt.Errorf("WireToJSON changed its input to %x", wire)
	}
	if err := checkAppend(got, gotErr); err != nil {
		return err
	}
	if err := p.compareAnswer(wire, got, gotErr); err != nil {
		return err
	}
	want, wantErr := p.oracle.WireToJSON(nil, wire)
	if errors.Is(wantErr, oracle.ErrPanic) {
		return nil
	}
	if gotErr != nil {
		return p.compareWireErrors(wire, want, gotErr, wantErr)
	}
	text := got[len(prefix):]
	if wantErr != nil {
		return fmt.Errorf("accepted as %s\noracle refuses: %w", text, wantErr)
	}
	if !bytes.Equal(text, want) {
		return fmt.Errorf("wrote    %s\noracle's %s", text, want)
	}
	return nil
}

// compareAnswer holds AnswerToJSON to WireToJSON: it writes the same where that succeeds, and
// something where that finds a value without a JSON form.
func (p *pair) compareAnswer(wire, strict []byte, strictErr error) error {
	got, note, err := p.ours.AnswerToJSON([]byte(prefix), wire)
	if strictErr == nil {
		if err != nil || note != nil || !bytes.Equal(got, strict) {
			return fmt.Errorf("the answer is %s (note: %t, error: %w)\nstrictly %s", got, note != nil, err, strict)
		}
		return nil
	}
	// Invalid UTF-8 in a value that a later one replaces is not written, and needs no note.
	if err == nil && (note == nil && !strings.Contains(strictErr.Error(), "valid UTF-8") || !json.Valid(got[len(prefix):])) {
		return fmt.Errorf("the answer is %s (note: %t)\nthough strictly there is none: %w", got, note != nil, strictErr)
	}
	var rangeError *transcode.RangeError
	if errors.As(err, &rangeError) {
		return fmt.Errorf("there is no answer: %w", err)
	}
	return nil
}

func (p *pair) compareWireErrors(wire, want []byte, gotErr, wantErr error) error {
	if wantErr == nil {
		if p.mayRefuseWire(wire) {
			return nil
		}
		return fmt.Errorf("refused: %w\noracle writes %s", gotErr, want)
	}
	var rangeError *transcode.RangeError
	if errors.As(gotErr, &rangeError) {
		// Malformed wire after a value that has no JSON form may be reported as either, since it is
		// read in one pass.
		return nil
	}
	if err := checkSyntaxError(gotErr, len(wire)); err != nil {
		return err
	}
	// protojson parses what is in an Any when it writes it, and therefore finds bad wire there to
	// be an output error.
	var output *oracle.OutputError
	if errors.As(wantErr, &output) && !strings.Contains(wantErr.Error(), "google.protobuf.Any") {
		return fmt.Errorf("refused the wire: %w\noracle parses it, and refuses to write it: %w", gotErr, wantErr)
	}
	return nil
}

// compareRoundTrip takes wire to JSON, back, and to JSON again, and reports if that is another
// text. The wire need not be the same: unknown fields and the bits of a NaN have no JSON form. One
// thing is lost in JSON itself, and by the oracle too: a NullValue without presence that is not
// zero is written as null, and read as absent.
func (p *pair) compareRoundTrip(wire []byte) error {
	text, err := p.ours.WireToJSON(nil, wire)
	if err != nil {
		return nil //nolint:nilerr // compareWire judges refusals.
	}
	back, err := p.ours.JSONToWire(nil, text)
	if err != nil {
		return fmt.Errorf("wrote %s\nand refused it: %w", text, err)
	}
	again, err := p.ours.WireToJSON(nil, back)
	if err != nil {
		return fmt.Errorf("wrote %s\nand then   %x\nand refused it: %w", text, back, err)
	}
	if oracleWire, err := p.oracle.JSONToWire(nil, text); err == nil && !bytes.Equal(again, text) {
		if text, err = p.oracle.WireToJSON(nil, oracleWire); err != nil {
			return err
		}
	}
	if !bytes.Equal(again, text) {
		return fmt.Errorf("wrote  %s\nbecame %x\nbecame %s", text, back, again)
	}
	return nil
}

// mayRefuseJSON reports whether the text is nested more deeply than the codec's limit, which is far
// lower than that of protojson: a gateway reads what strangers send.
func (p *pair) mayRefuseJSON(text []byte) bool { return jsonDepth(text) > p.maxDepth() }

// jsonDepth returns the deepest nesting of arrays and objects.
func jsonDepth(text []byte) int {
	depth, deepest, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && inString:
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// mayRefuseWire reports whether the wire may be nested more deeply than the codec's limit: the
// oracle refuses it as well, if it gets the same limit. Messages in Any are not counted by that,
// and are taken to be deep enough if they are long enough: each level takes two bytes, but a group
// in unknown fields.
func (p *pair) mayRefuseWire(wire []byte) bool {
	msg := dynamicpb.NewMessage(p.md)
	limited := proto.UnmarshalOptions{Resolver: p.types, RecursionLimit: p.maxDepth()}
	if limited.Unmarshal(wire, msg) != nil {
		return true
	}
	return len(wire) > 2*p.maxDepth() && bytes.Contains(wire, []byte("type.googleapis.com/"))
}

// defaultMaxDepth is what Options.MaxDepth is if it is not set.
const defaultMaxDepth = 100

func (p *pair) maxDepth() int {
	if p.opts.MaxDepth > 0 {
		return p.opts.MaxDepth
	}
	return defaultMaxDepth
}

// canonical returns the bytes that represent a message and all that are equal to it. What an Any
// holds is any serialisation of its message: the order of its fields is not part of the result, and
// neither are fields that its type does not have, since they do not get through JSON. That required
// fields are set is checked before.
func (p *pair) canonical(msg proto.Message) ([]byte, error) {
	if err := p.canonicalAnys(msg.ProtoReflect()); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(msg)
}

func (p *pair) canonicalAnys(m protoreflect.Message) error {
	if m.Descriptor().FullName() == "google.protobuf.Any" {
		return p.canonicalAny(m)
	}
	var firstErr error
	visit := func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		if fd.Message() != nil && firstErr == nil {
			firstErr = p.canonicalAnys(v.Message())
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(fd.MapValue(), v)
				return true
			})
		case fd.IsList():
			for i := range v.List().Len() {
				visit(fd, v.List().Get(i))
			}
		default:
			visit(fd, v)
		}
		return firstErr == nil
	})
	return firstErr
}

func (p *pair) canonicalAny(m protoreflect.Message) error {
	url := m.Get(m.Descriptor().Fields().ByNumber(1)).String()
	value := m.Descriptor().Fields().ByNumber(2)
	typ, err := p.types.FindMessageByURL(url)
	if err != nil {
		return nil //nolint:nilerr // its content stays as it is
	}
	inner := typ.New().Interface()
	if err := p.parsePartial(m.Get(value).Bytes(), inner); err != nil {
		return nil //nolint:nilerr // its content stays as it is
	}
	content, err := p.canonical(inner)
	if err != nil {
		return err
	}
	if len(content) > 0 {
		m.Set(value, protoreflect.ValueOfBytes(content))
	} else {
		m.Clear(value)
	}
	return nil
}

// parsePartial parses a message, or a part of one, without its unknown fields.
func (p *pair) parsePartial(wire []byte, into proto.Message) (err error) {
	defer oracle.RecoverPanic(&err)
	opts := proto.UnmarshalOptions{Resolver: p.types, AllowPartial: true, DiscardUnknown: true}
	return opts.Unmarshal(wire, into)
}

// checkAppend holds the codec to appending, and to leaving the buffer at its length on error.
func checkAppend(got []byte, err error) error {
	if !bytes.HasPrefix(got, []byte(prefix)) {
		return fmt.Errorf("lost what stood in the buffer: %q", got)
	}
	if err != nil && len(got) != len(prefix) {
		return fmt.Errorf("left %q in the buffer on error: %w", got[len(prefix):], err)
	}
	return nil
}

// checkSyntaxError holds the codec to its error type, with an offset that lies in the input.
func checkSyntaxError(err error, size int) error {
	var syntax *transcode.SyntaxError
	if !errors.As(err, &syntax) {
		return fmt.Errorf("error is %T and no *SyntaxError: %w", err, err)
	}
	if syntax.Offset < 0 || syntax.Offset > size {
		return fmt.Errorf("error at offset %d of %d: %w", syntax.Offset, size, err)
	}
	if err.Error() == "" {
		return fmt.Errorf("error at offset %d without a text", syntax.Offset)
	}
	return nil
}

// show renders a message for an error.
func (p *pair) show(msg proto.Message) string {
	text, err := protojson.MarshalOptions{Resolver: p.types, AllowPartial: true}.Marshal(msg)
	if err != nil {
		return fmt.Sprintf("%v (%v)", msg, err)
	}
	return string(text)
}
