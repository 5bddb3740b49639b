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

// prefix is in the buffer before the codec appends to it. It must still be there afterwards.
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

// compareAnswer compares AnswerToJSON with WireToJSON. If WireToJSON succeeds, both must write the
// same. If WireToJSON finds a value without a JSON form, AnswerToJSON must still succeed.
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
		// Malformed wire after a value without a JSON form may be reported as either error, because
		// one pass finds both.
		return nil
	}
	if err := checkSyntaxError(gotErr, len(wire)); err != nil {
		return err
	}
	// protojson parses the content of an Any when it writes the Any. So bad wire in it is an output
	// error there.
	var output *oracle.OutputError
	if errors.As(wantErr, &output) && !strings.Contains(wantErr.Error(), "google.protobuf.Any") {
		return fmt.Errorf("refused the wire: %w\noracle parses it, and refuses to write it: %w", gotErr, wantErr)
	}
	return nil
}

// compareRoundTrip converts wire to JSON, back to wire, and to JSON again. It reports if the two
// texts differ. The wire may differ, because unknown fields and the bits of a NaN have no JSON
// form. One thing is lost in JSON itself, and the oracle loses it, too: a NullValue without
// presence that is not zero is written as null, and read as absent.
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

// mayRefuseJSON reports whether the text is nested more deeply than the codec's limit. That limit
// is far lower than protojson's, because a gateway reads what strangers send.
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

// mayRefuseWire reports whether the wire may be nested more deeply than the codec's limit. It asks
// the oracle with the same limit. The oracle does not count messages within an Any. They count as
// deep enough if they are long enough: each level takes two bytes, except for a group in unknown
// fields.
func (p *pair) mayRefuseWire(wire []byte) bool {
	msg := dynamicpb.NewMessage(p.md)
	limited := proto.UnmarshalOptions{Resolver: p.types, RecursionLimit: p.maxDepth()}
	if limited.Unmarshal(wire, msg) != nil {
		return true
	}
	return len(wire) > 2*p.maxDepth() && bytes.Contains(wire, []byte("type.googleapis.com/"))
}

// defaultMaxDepth is the default of Options.MaxDepth.
const defaultMaxDepth = 100

func (p *pair) maxDepth() int {
	if p.opts.MaxDepth > 0 {
		return p.opts.MaxDepth
	}
	return defaultMaxDepth
}

// canonical returns the same bytes for all messages that are equal. The content of an Any may be
// serialised in several ways. The order of its fields does not count. Fields that its type does not
// have do not count either, because JSON cannot carry them. Required fields are checked before.
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

// checkAppend checks that the codec has appended, and that after an error the buffer has its old
// length.
func checkAppend(got []byte, err error) error {
	if !bytes.HasPrefix(got, []byte(prefix)) {
		return fmt.Errorf("lost what stood in the buffer: %q", got)
	}
	if err != nil && len(got) != len(prefix) {
		return fmt.Errorf("left %q in the buffer on error: %w", got[len(prefix):], err)
	}
	return nil
}

// checkSyntaxError checks the type of an error, and that its offset is within the input.
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
