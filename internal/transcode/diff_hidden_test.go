package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// A hiding is a set of hidden fields for a message type.
type hiding struct {
	*pair
	fields map[protoreflect.FullName]bool
	codec  *transcode.Codec
	filter *transcode.Filter
	// split says that messages may be in several places on the wire. A filter then drops the
	// content of an Any that is not in the same place as its type.
	split bool
	anys  bool // The message has an Any.
}

// newHiding hides fields of the types that a message type leads to.
func newHiding(p *pair, fields []protoreflect.FullName) (*hiding, error) {
	h := &hiding{pair: p, fields: make(map[protoreflect.FullName]bool)}
	var names []string
	for _, f := range fields {
		h.fields[f] = true
		names = append(names, string(f))
	}
	slices.Sort(names)
	opts := p.opts
	opts.Hidden = strings.Join(names, " ")
	c := transcode.NewCompiler(p.types, opts)
	h.filter = c.Filter(p.md)
	var err error
	h.codec, err = c.Codec(p.md)
	return h, err
}

// pickHidden picks a few fields of types that the message type leads to. Wire that is not canonical
// may set several members of a oneof, where the oracle sees only the last. There, members of a
// oneof are left alone.
func pickHidden(t *tape, md protoreflect.MessageDescriptor, oneofs bool) []protoreflect.FullName {
	var hidden []protoreflect.FullName
	for range 1 + t.few() {
		at := md
		for range t.n(4) {
			var next []protoreflect.MessageDescriptor
			for i := range at.Fields().Len() {
				fd := at.Fields().Get(i)
				if fd.IsMap() {
					fd = fd.MapValue()
				}
				if inner := fd.Message(); inner != nil && inner.Parent().FullName() != "google.protobuf" {
					next = append(next, inner)
				}
			}
			if len(next) > 0 {
				at = next[t.n(len(next))]
			}
		}
		if at.Fields().Len() == 0 || at.Parent().FullName() == "google.protobuf" {
			continue
		}
		fd := at.Fields().Get(t.n(at.Fields().Len()))
		if od := fd.ContainingOneof(); oneofs || od == nil || od.IsSynthetic() {
			hidden = append(hidden, fd.FullName())
		}
	}
	return hidden
}

// hiddenTrial compares answers with hidden fields to those of the oracle, which decodes the message
// and clears the fields.
func hiddenTrial(p *pair, t *tape) trial {
	level := t.n(2)
	h, err := newHiding(p, pickHidden(t, p.md, level == canonical))
	if err != nil || len(h.fields) == 0 {
		return trial{}
	}
	h.split = level != canonical
	return trial{genWire(t, p.schema, p.md, level), h.compare}
}

func (h *hiding) compare(wire []byte) (err error) {
	defer oracle.RecoverPanic(&err)
	h.anys = false
	msg, err := h.oracle.FromWire(wire)
	if err != nil {
		return h.check(wire)
	}
	if err := h.clear(msg.ProtoReflect()); err != nil {
		return h.check(wire)
	}
	want, err := h.text(msg)
	if err != nil {
		return h.check(wire)
	}
	got, _, err := h.codec.AnswerToJSON(nil, wire)
	if err != nil {
		return fmt.Errorf("hiding %v: no JSON: %w", h.names(), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("hiding %v\nwrote    %s\noracle's %s", h.names(), got, want)
	}
	shown, err := h.filter.Append([]byte(prefix), wire)
	if err != nil {
		return fmt.Errorf("hiding %v: not filtered: %w", h.names(), err)
	}
	again := dynamicpb.NewMessage(h.md)
	if err := (proto.UnmarshalOptions{Resolver: h.types, AllowPartial: true}).Unmarshal(shown[len(prefix):], again); err != nil {
		return fmt.Errorf("hiding %v: filtered to %x: %w", h.names(), shown, err)
	}
	if h.split && h.anys {
		return h.check(wire)
	}
	text, err := h.text(again)
	if err != nil {
		return fmt.Errorf("hiding %v: filtered to %x, which cannot be read: %w", h.names(), shown, err)
	}
	if !bytes.Equal(text, want) {
		return fmt.Errorf("hiding %v: filtered to %x\nthat is   %s\noracle's  %s", h.names(), shown, text, want)
	}
	return h.check(wire)
}

// check makes sure that a filtered message has no hidden field, whatever the wire is.
func (h *hiding) check(wire []byte) error {
	given := bytes.Clone(wire)
	out, err := h.filter.Append([]byte(prefix), wire)
	switch {
	case !bytes.Equal(given, wire):
		return errors.New("Append changed its input")
	case !bytes.HasPrefix(out, []byte(prefix)) || err != nil && len(out) != len(prefix):
		return fmt.Errorf("Append returned %q, %w", out, err)
	case err != nil:
		return nil //nolint:nilerr // A message that is refused shows nothing.
	}
	if err := h.find(h.md, out[len(prefix):]); err != nil {
		return fmt.Errorf("hiding %v: filtered to %x: %w", h.names(), out[len(prefix):], err)
	}
	return nil
}

// find looks for hidden fields on the wire. It reads every value of a message field as a message,
// and the content of each Any as one of its type.
func (h *hiding) find(md protoreflect.MessageDescriptor, wire []byte) error {
	var url string
	var content []byte
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return nil
		}
		size := protowire.ConsumeFieldValue(num, typ, wire[n:])
		if size < 0 {
			return nil
		}
		value := wire[n : n+size]
		wire = wire[n+size:]
		fd := md.Fields().ByNumber(num)
		if fd == nil {
			xt, err := h.types.FindExtensionByNumber(md.FullName(), num)
			if err != nil {
				continue
			}
			fd = xt.TypeDescriptor()
		}
		if h.fields[fd.FullName()] {
			return fmt.Errorf("it has %s", fd.FullName())
		}
		inner, _ := protowire.ConsumeBytes(value)
		if typ == protowire.StartGroupType {
			inner, _ = protowire.ConsumeGroup(num, value)
		}
		if md.FullName() == "google.protobuf.Any" && typ == protowire.BytesType {
			if num == 1 {
				url = string(inner)
			} else {
				content = inner
			}
		}
		if fd.Message() != nil && (typ == protowire.BytesType || typ == protowire.StartGroupType) {
			if err := h.find(fd.Message(), inner); err != nil {
				return err
			}
		}
	}
	if mt, err := h.types.FindMessageByURL(url); err == nil {
		return h.find(mt.Descriptor(), content)
	}
	return nil
}

// clear clears the hidden fields. It fails if an Any has no type that is known, or broken content.
func (h *hiding) clear(msg protoreflect.Message) (err error) {
	if msg.Descriptor().FullName() == "google.protobuf.Any" {
		return h.clearAny(msg)
	}
	each := func(m protoreflect.Message) {
		if err == nil {
			err = h.clear(m)
		}
	}
	msg.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case h.fields[fd.FullName()]:
			msg.Clear(fd)
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					each(v.Message())
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				each(v.List().Get(i).Message())
			}
		default:
			each(v.Message())
		}
		return true
	})
	return err
}

func (h *hiding) clearAny(msg protoreflect.Message) error {
	h.anys = true
	url, content := msg.Descriptor().Fields().ByNumber(1), msg.Descriptor().Fields().ByNumber(2)
	if msg.Get(url).String() == "" && len(msg.Get(content).Bytes()) == 0 {
		return nil
	}
	mt, err := h.types.FindMessageByURL(msg.Get(url).String())
	if err != nil {
		return err
	}
	inner := dynamicpb.NewMessage(mt.Descriptor())
	if err := (proto.UnmarshalOptions{Resolver: h.types, AllowPartial: true}).Unmarshal(msg.Get(content).Bytes(), inner); err != nil {
		return err
	}
	if err := h.clear(inner); err != nil {
		return err
	}
	wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(inner)
	if err != nil {
		return err
	}
	msg.Set(content, protoreflect.ValueOfBytes(wire))
	return nil
}

// text is the JSON of a message whose hidden fields are not set.
func (h *hiding) text(msg proto.Message) ([]byte, error) {
	opts := protojson.MarshalOptions{
		AllowPartial: true, UseProtoNames: h.opts.UseProtoNames, UseEnumNumbers: h.opts.EnumsAsNumbers, Resolver: h.types,
	}
	if h.opts.EmitDefaults || h.opts.EmitUnpopulated {
		return nil, errors.New("the oracle emits the defaults of hidden fields")
	}
	text, err := opts.Marshal(msg)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}

func (h *hiding) names() []protoreflect.FullName {
	var names []protoreflect.FullName
	for name := range h.fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// FuzzFilter makes sure that no wire gets a hidden field through a filter.
func FuzzFilter(f *testing.F) {
	addSeeds(f, func(p *pair, t *tape) []byte { return genWire(t, p.schema, p.md, t.n(wireLevels)) })
	f.Fuzz(func(t *testing.T, root, opts uint8, wire []byte) {
		p := pairOf(t, root, opts&^withoutType)
		h, err := newHiding(p, pickHidden(newTape([]byte{root, opts}), p.md, true))
		if err != nil || len(h.fields) == 0 {
			return
		}
		report(t, p, trial{wire, h.check})
	})
}

// FuzzMask reads any text as a mask. A mask that is accepted writes valid JSON of whatever has a
// JSON form as a whole.
func FuzzMask(f *testing.F) {
	for _, text := range []string{
		"", "*", "name", "name,author.name", "author.*", "tags.*", "by_int32.1.by_string.a", "byString.`a.b`", "byString.`a``b`", "byInt32.*.byInt32",
		"a.b,", ".", "a..b", "[judge.proto2.note]", "[", "`", "a,b,c", " a , b ", "child.child.child.kids.*.golf,child.child", "choices.any",
	} {
		for root := range judgedMessages {
			f.Add(uint8(root), text, []byte{1})
		}
	}
	f.Fuzz(func(t *testing.T, root uint8, text string, choices []byte) {
		p := pairOf(t, root, 0)
		codec, err := p.ours.Mask(text)
		if err != nil {
			return
		}
		wire := genWire(newTape(choices), p.schema, p.md, scrambled)
		whole, err := p.ours.WireToJSON(nil, wire)
		if err != nil {
			return
		}
		got, err := codec.WireToJSON(nil, wire)
		if err != nil || !json.Valid(got) || len(got) > len(whole) {
			t.Errorf("%s, mask %q, wire %x\ngot   %s, %v\nwhole %s", p.md.FullName(), text, wire, got, err, whole)
		}
	})
}
