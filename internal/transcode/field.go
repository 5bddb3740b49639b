package transcode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is one field, maybe nested, of a codec's message. Immutable, safe for concurrent use.
type Field struct {
	root   *program
	chain  []*field // from the message down
	bare   *field   // the last of the chain, without its name, to be written alone
	absent string   // JSON of the field where it is not set
	path   []protoreflect.FieldDescriptor

	entry  bool   // one entry of the map that the path ends at
	key    []byte // the entry's key as a field of the wire
	text   string // the entry's key if it is a string
	number uint64 // the entry's key as keyOrder has it, if not
}

// Field resolves a path of field names (proto or JSON name) joined by dots, as HTTP rules and query parameters
// write it: "book.name", and "labels[key]" for an entry of a map. All but the last must be singular messages. The error says
// which name is wrong, and why.
func (c *Codec) Field(path string) (*Field, error) {
	f := &Field{root: c.program}
	rest, key, isEntry := cutEntry(path)
	p := c.program
	for more := true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ".")
		if err := p.use(); err != nil {
			return nil, fmt.Errorf("field path %q: %w", path, err)
		}
		g := p.byName([]byte(name))
		if g == nil {
			return nil, fmt.Errorf("field path %q: message type %s has no field %q", path, p.md.FullName(), name)
		}
		f.chain = append(f.chain, g)
		f.path = append(f.path, g.fd)
		if !more {
			break
		}
		if g.msg == nil || g.shape != shapeSingular {
			return nil, fmt.Errorf("field path %q: %q is not a singular message", path, name)
		}
		p = g.msg
	}
	if isEntry {
		if err := f.setKey(key); err != nil {
			return nil, fmt.Errorf("field path %q: %w", path, err)
		}
	}
	f.bare = new(field)
	*f.bare = *f.last()
	f.bare.key, f.bare.keySize, f.bare.zero = "", 0, ""
	f.absent = f.absentText(c.program.compiler)
	return f, nil
}

// settle gives an error its path, which starts with the fields.
func (f *Field) settle(err error) error {
	var l located
	if !errors.As(err, &l) {
		return err
	}
	for _, g := range slices.Backward(f.chain) {
		l.within(g.name)
	}
	return settled(l)
}

// pointer is the path of the field as errors have it.
func (f *Field) pointer() string {
	var trail []string
	for _, g := range slices.Backward(f.chain) {
		trail = append(trail, g.name)
	}
	return joinPath(trail)
}

// cutEntry takes "[key]" off the end of a path.
func cutEntry(path string) (fields, key string, ok bool) {
	i := strings.IndexByte(path, '[')
	if i < 0 || path[len(path)-1] != ']' {
		return path, "", false
	}
	return path[:i], path[i+1 : len(path)-1], true
}

// setKey makes the field that of one entry of the map that the path ends at.
func (f *Field) setKey(key string) error {
	m := f.last()
	if m.shape != shapeMap {
		return fmt.Errorf("%q is not a map", m.fd.Name())
	}
	f.entry = true
	k := m.mapKey
	if k.kind == kindString {
		f.key = append(appendVarint(appendTag(nil, k.tag), uint64(len(key))), key...)
		f.text = key
		return nil
	}
	v, ok := parseMapKey([]byte(key), k.kind)
	if !ok {
		return fmt.Errorf("%q is no map key of kind %s", key, k.fd.Kind())
	}
	f.key = appendBits(appendTag(nil, k.tag), k, v)
	f.number = k.keyOrder(v)
	return nil
}

func (f *Field) last() *field { return f.chain[len(f.chain)-1] }

// Descriptor returns the field that the path ends at: the map, if it names an entry of one.
func (f *Field) Descriptor() protoreflect.FieldDescriptor { return f.last().fd }

// Path returns the proto field names from the message down.
func (f *Field) Path() []protoreflect.FieldDescriptor { return slices.Clone(f.path) }

// within appends the field that write appends, in the messages that enclose it, and fills in their lengths.
func (f *Field) within(d *decoder, dst []byte, write func(out []byte) ([]byte, bool)) ([]byte, bool) {
	out := dst
	type opened struct {
		f     *field
		patch int
	}
	var few [8]opened
	stack := few[:0]
	for _, g := range f.chain[:len(f.chain)-1] {
		out = appendTag(out, g.tag)
		stack = append(stack, opened{g, len(d.patches)})
		if g.kind == kindMessage {
			out = d.open(out)
		}
	}
	out, ok := write(out)
	if !ok {
		return dst, false
	}
	for _, o := range slices.Backward(stack) {
		if o.f.kind == kindMessage {
			d.close(o.patch, out)
		} else {
			out = appendTag(out, o.f.tag+wireEndGroup-wireStartGroup)
		}
	}
	return d.finish(out), true
}

// AppendJSON appends the wire form of the field set to the JSON value: a request body bound to a field.
// Lists and maps are bound whole. As in a message, null sets nothing, unless null is a value of the field's type. Required fields
// within need not be set: other parameters may set them. Errors are
// of type *SyntaxError.
func (f *Field) AppendJSON(dst, json []byte) ([]byte, error) {
	d := f.root.compiler.newDecoder(json, dst)
	defer d.release()
	d.partial = 1
	g := f.last()
	out, ok := f.within(d, dst, func(out []byte) ([]byte, bool) {
		p := d.space(0)
		switch {
		case f.entry:
			index := len(d.patches)
			out = append(d.open(appendTag(out, g.tag)), f.key...)
			if p, out = d.value(p, out, g.mapValue); p >= 0 {
				d.close(index, out)
			}
		case d.is(p, 'n') && !g.keepNull:
			p = d.literal(p, "null")
		default:
			p, out = d.fieldValue(p, out, g)
		}
		if p < 0 {
			return out, false
		}
		if p = d.space(p); p < len(d.in) {
			d.fail(p, out, "the end of the input")
			return out, false
		}
		return out, true
	})
	if !ok {
		return dst, f.settle(d.err)
	}
	return out, nil
}
