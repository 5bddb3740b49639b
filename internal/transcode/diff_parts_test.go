package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// A partStep is one step of a path of a mask: a field, a key of a map, or "*".
type partStep struct {
	field protoreflect.FieldDescriptor // nil for the others
	key   string                       // of a map, as JSON has it
	star  bool
	text  string // as the mask has it
}

// A parts is a mask for a message type, in a form that the oracle does not have to parse.
type parts [][]partStep

func (ps parts) String() string {
	var paths []string
	for _, steps := range ps {
		var path []string
		for _, s := range steps {
			path = append(path, s.text)
		}
		paths = append(paths, strings.Join(path, "."))
	}
	return strings.Join(paths, ",")
}

// genParts makes a mask of a few paths. Keys are mostly those of the message.
func genParts(t *tape, s *schema, msg protoreflect.Message) parts {
	var ps parts
	for range 1 + t.few() {
		if path := genPath(t, s, msg.Descriptor(), msg, 0); len(path) > 0 {
			ps = append(ps, path)
		}
	}
	return ps
}

func genPath(t *tape, s *schema, md protoreflect.MessageDescriptor, msg protoreflect.Message, depth int) []partStep {
	if isKnownType(md) && md.FullName() != "google.protobuf.Empty" || depth > 5 {
		return nil
	}
	if t.oneIn(20) {
		return []partStep{{star: true, text: "*"}}
	}
	fd := pickField(t, s, md, msg)
	if fd == nil {
		return nil
	}
	name := nameOf(t, md, fd)
	if name == "" {
		return nil
	}
	path := []partStep{{field: fd, text: name}}
	if t.oneIn(3) {
		return path
	}
	var inner protoreflect.Message
	value := fd.Message()
	set := msg != nil && msg.Has(fd)
	switch {
	case fd.IsMap():
		key := partStep{star: true, text: "*"}
		if set {
			inner, key = pickEntry(t, fd, msg.Get(fd).Map())
		}
		if fd.MapKey().Kind() == protoreflect.BoolKind {
			key = partStep{star: true, text: "*"}
		}
		path = append(path, key)
		value = fd.MapValue().Message()
	case fd.IsList():
		if t.oneIn(2) {
			path = append(path, partStep{star: true, text: "*"})
		}
		if list := msg; set && value != nil {
			inner = list.Get(fd).List().Get(0).Message()
		}
	case value != nil && set:
		inner = msg.Get(fd).Message()
	}
	if value == nil {
		return path
	}
	return append(path, genPath(t, s, value, inner, depth+1)...)
}

// pickField picks a field of the message, mostly one that is set.
func pickField(t *tape, s *schema, md protoreflect.MessageDescriptor, msg protoreflect.Message) protoreflect.FieldDescriptor {
	var set []protoreflect.FieldDescriptor
	if msg != nil {
		msg.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			set = append(set, fd)
			return true
		})
		slices.SortFunc(set, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	}
	if len(set) > 0 && !t.oneIn(4) {
		return set[t.n(len(set))]
	}
	if md.Fields().Len() == 0 {
		return nil
	}
	return md.Fields().Get(t.n(md.Fields().Len()))
}

// nameOf returns one of the names of a field. It is empty if each name means another field, too.
func nameOf(t *tape, md protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) string {
	if fd.IsExtension() {
		return "[" + string(fd.FullName()) + "]"
	}
	names := []string{fd.JSONName(), string(fd.Name()), fd.TextName()}
	for i := range names {
		name := names[(i+t.n(3))%3]
		other := md.Fields().ByJSONName(name)
		if (other == nil || other == fd) && name != "" && !strings.ContainsAny(name, ".,`[* ") {
			return name
		}
	}
	return ""
}

func pickEntry(t *tape, fd protoreflect.FieldDescriptor, m protoreflect.Map) (protoreflect.Message, partStep) {
	var keys []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	k := keys[t.n(len(keys))]
	var inner protoreflect.Message
	if fd.MapValue().Message() != nil {
		inner = m.Get(k).Message()
	}
	step := partStep{key: k.String(), text: k.String()}
	if t.oneIn(3) {
		return inner, partStep{star: true, text: "*"}
	}
	if strings.ContainsAny(step.text, ".,`[* \t") || step.text == "" || t.oneIn(4) {
		step.text = "`" + strings.ReplaceAll(step.text, "`", "``") + "`"
	}
	return inner, step
}

// partsTrial compares a masked answer with the oracle's: the whole message is decoded, cut, and
// then written.
func partsTrial(p *pair, t *tape) trial {
	wire := genWire(t, p.schema, p.md, t.n(2)) // canonical or scrambled
	msg, err := p.oracle.FromWire(wire)
	if err != nil {
		return trial{}
	}
	ps := genParts(t, p.schema, msg.ProtoReflect())
	return trial{wire, func(wire []byte) error { return p.compareParts(wire, ps) }}
}

func (p *pair) compareParts(wire []byte, ps parts) error {
	codec, err := p.ours.Mask(ps.String())
	if err != nil {
		return fmt.Errorf("mask %q: %w", ps, err)
	}
	if len(ps) == 0 && codec != p.ours {
		return errors.New("the empty mask is not that of the whole message")
	}
	want, err := p.oracleParts(wire, ps)
	if err != nil {
		return nil //nolint:nilerr // What the oracle cannot read or write is judged elsewhere.
	}
	got, gotErr := codec.WireToJSON([]byte(prefix), wire)
	if gotErr != nil {
		if _, err := p.ours.WireToJSON(nil, wire); err != nil {
			return nil //nolint:nilerr // The whole message has no JSON form either.
		}
		return fmt.Errorf("mask %q refused: %w\noracle's %s", ps, gotErr, want)
	}
	if text := got[len(prefix):]; !bytes.Equal(text, want) {
		return fmt.Errorf("mask %q\nwrote    %s\noracle's %s", ps, text, want)
	}
	answer, note, err := codec.AnswerToJSON(nil, wire)
	if err != nil {
		return fmt.Errorf("mask %q: there is no answer: %w", ps, err)
	}
	if note != nil || !bytes.Equal(answer, want) {
		return fmt.Errorf("mask %q: the answer is %s, with the note %q", ps, answer, note.Error())
	}
	return nil
}

// oracleParts writes the whole message and cuts what was written if defaults are emitted. Otherwise
// it cuts the message.
func (p *pair) oracleParts(wire []byte, ps parts) (text []byte, err error) {
	defer oracle.RecoverPanic(&err)
	msg, err := p.oracle.FromWire(wire)
	if err != nil {
		return nil, err
	}
	if p.opts.EmitDefaults || p.opts.EmitUnpopulated {
		whole, err := p.oracle.ToJSON(nil, msg)
		if err != nil {
			return nil, err
		}
		return cutJSON(nil, whole, p.md, ps), nil
	}
	cutMessage(msg.ProtoReflect(), ps)
	opts := protojson.MarshalOptions{
		AllowPartial: true, UseProtoNames: p.opts.UseProtoNames, UseEnumNumbers: p.opts.EnumsAsNumbers, Resolver: p.types,
	}
	if text, err = opts.Marshal(msg); err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}

// whole reports whether one of the paths ends here.
func (ps parts) whole() bool {
	return slices.ContainsFunc(ps, func(path []partStep) bool { return len(path) == 0 || len(path) == 1 && path[0].star })
}

// of returns what follows a field in the paths that begin with it.
func (ps parts) of(fd protoreflect.FieldDescriptor) (rest parts) {
	for _, path := range ps {
		if path[0].field != nil && path[0].field.FullName() == fd.FullName() {
			rest = append(rest, path[1:])
		}
	}
	return rest
}

// ofKey returns what follows the key of a map.
func (ps parts) ofKey(key string) (rest parts) {
	for _, path := range ps {
		if path[0].star || path[0].field == nil && path[0].key == key {
			rest = append(rest, path[1:])
		}
	}
	return rest
}

// ofElements returns what follows a list, with or without a "*".
func (ps parts) ofElements() (rest parts) {
	for _, path := range ps {
		if path[0].star {
			path = path[1:]
		}
		rest = append(rest, path)
	}
	return rest
}

// cutMessage clears all fields that the mask does not name.
func cutMessage(msg protoreflect.Message, ps parts) {
	if ps.whole() || len(ps) == 0 {
		return
	}
	msg.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		rest := ps.of(fd)
		switch {
		case len(rest) == 0:
			msg.Clear(fd)
		case rest.whole():
		case fd.IsMap():
			m := v.Map()
			m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				switch inner := rest.ofKey(k.String()); {
				case len(inner) == 0:
					m.Clear(k)
				case !inner.whole():
					cutMessage(v.Message(), inner)
				}
				return true
			})
			if m.Len() == 0 {
				msg.Clear(fd)
			}
		case fd.IsList():
			if rest = rest.ofElements(); rest.whole() {
				break
			}
			for i := range v.List().Len() {
				cutMessage(v.List().Get(i).Message(), rest)
			}
		default:
			cutMessage(v.Message(), rest)
		}
		return true
	})
}

// cutJSON appends the JSON of a message without the members that the mask does not name.
func cutJSON(dst, text []byte, md protoreflect.MessageDescriptor, ps parts) []byte {
	if ps.whole() || len(ps) == 0 {
		return append(dst, text...)
	}
	return cutObject(dst, text, func(name string, value []byte) (kept []byte, ok bool) {
		var fd protoreflect.FieldDescriptor
		for _, path := range ps {
			f := path[0].field
			if f.JSONName() == name || f.TextName() == name || "["+string(f.FullName())+"]" == name {
				fd = f
			}
		}
		if fd == nil {
			return nil, false
		}
		rest := ps.of(fd)
		switch {
		case rest.whole() || string(value) == "null":
			return value, true
		case fd.IsMap():
			return cutObject(nil, value, func(key string, value []byte) ([]byte, bool) {
				switch inner := rest.ofKey(key); {
				case len(inner) == 0:
					return nil, false
				case inner.whole():
					return value, true
				default:
					return cutJSON(nil, value, fd.MapValue().Message(), inner), true
				}
			}), true
		case fd.IsList():
			if rest = rest.ofElements(); rest.whole() {
				return value, true
			}
			var elements []json.RawMessage
			if err := json.Unmarshal(value, &elements); err != nil {
				panic(err)
			}
			kept = append(kept, '[')
			for i, e := range elements {
				if i > 0 {
					kept = append(kept, ',')
				}
				kept = cutJSON(kept, e, fd.Message(), rest)
			}
			return append(kept, ']'), true
		default:
			return cutJSON(nil, value, fd.Message(), rest), true
		}
	})
}

// cutObject appends a JSON object with the members that cut keeps.
func cutObject(dst, text []byte, cut func(name string, value []byte) (kept []byte, ok bool)) []byte {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil { // the brace
		panic(err)
	}
	dst = append(dst, '{')
	first := true
	for dec.More() {
		from := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			panic(err)
		}
		raw := bytes.TrimLeft(text[from:dec.InputOffset()], ",")
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			panic(err)
		}
		kept, ok := cut(name.(string), value)
		if !ok {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(dst, raw...), ':'), kept...)
	}
	return append(dst, '}')
}
