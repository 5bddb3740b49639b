package transcode

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is a field of a codec's message, or of a message within it. It is immutable and safe for
// concurrent use.
type Field struct {
	root *program
	// chain and path are the fields from the message down.
	chain []*field
	path  []protoreflect.FieldDescriptor

	// entry says that the field is one entry of the map that the path ends at.
	entry bool
	// key is the entry's key as a field of the wire.
	key []byte
	// text is the entry's key if it is a string. Otherwise number is the key, in the form of
	// keyOrder.
	text   string
	number uint64

	// narrowed is the last field of the chain if only a part of its value is written, and mask
	// says which part.
	narrowed *field
	mask     string

	// once guards the fields below. They are made when WireToJSON is first called.
	once sync.Once
	// bare is the last field of the chain without its name, so that it is written alone.
	bare *field
	// absent is the JSON of the field if it is not set.
	absent string
}

// Field resolves a path of field names (proto or JSON name) joined by dots, as HTTP rules and query
// parameters write it: "book.name". All but the last must be singular messages. The forms with
// brackets are "labels[key]" for an entry of a map, "book[name]" for "book.name", and "tags[]" for
// the list "tags".
//
// A JSON name may have dots and brackets in it. If the path may begin with several names, the
// longest one counts that fits what follows it. The error says which name is wrong, and why.
func (c *Codec) Field(path string) (*Field, error) {
	f := &Field{root: c.program}
	if err := f.resolve(f.root, []byte(path)); err != nil {
		return nil, fmt.Errorf("field path %q: %w", shorten(path), err)
	}
	return f, nil
}

// Field resolves a path within the field, which must be a singular message.
func (f *Field) Field(path string) (*Field, error) {
	if f.entry || f.last().shape != shapeSingular || f.last().msg == nil {
		return nil, fmt.Errorf("field path %q: %q is not a singular message", shorten(path), f.Descriptor().Name())
	}
	g := &Field{root: f.root, chain: slices.Clone(f.chain), path: slices.Clone(f.path)}
	if err := g.resolve(f.last().msg, []byte(path)); err != nil {
		return nil, fmt.Errorf("field path %q: %w", shorten(path), err)
	}
	return g, nil
}

// resolve follows a path from a message.
func (f *Field) resolve(p *program, rest []byte) error {
	if err := p.use(); err != nil {
		return err
	}
	g, n := p.longestName(rest)
	for {
		if g == nil {
			return fmt.Errorf("message type %s has no field %q", p.md.FullName(), shorten(string(rest[:n])))
		}
		if len(f.chain) == f.root.compiler.opts.MaxDepth {
			return fmt.Errorf("the path is nested deeper than the limit of %d", len(f.chain))
		}
		f.chain = append(f.chain, g)
		f.path = append(f.path, g.fd)
		name := rest[:n]
		rest = rest[n:]
		switch {
		case len(rest) == 0:
			return nil
		case rest[0] == '[' && g.shape == shapeMap:
			return f.setEntry(rest)
		case string(rest) == "[]" && g.shape == shapeList:
			return nil
		case rest[0] == '[' && g.shape == shapeList:
			return fmt.Errorf("%q is not a map; the elements of a list are written as %s or %[1]s[]", name, name)
		case g.msg == nil || g.shape != shapeSingular:
			if rest[0] == '[' {
				return fmt.Errorf("%q is not a map", name)
			}
			return fmt.Errorf("%q is not a singular message", name)
		}
		p = g.msg
		if err := p.use(); err != nil {
			return err
		}
		if rest[0] == '.' {
			rest = rest[1:]
			g, n = p.longestName(rest)
			continue
		}
		end := bytes.IndexByte(rest, ']')
		if end < 0 || end+1 < len(rest) && rest[end+1] != '[' && rest[end+1] != '.' {
			return fmt.Errorf("%q is not a name in brackets", shorten(string(rest)))
		}
		// In errors the name has its brackets.
		g, n = p.byName(rest[1:end]), end+1
	}
}

// longestName returns the field of the longest name that the path begins with, and the length of
// the name. A name that fits what follows it wins over a longer one that does not. If there is no
// field, the length is that of the first name.
func (p *program) longestName(path []byte) (*field, int) {
	var other *field
	size := 0
	for n := min(len(path), int(p.names.longest)); n > 0; n-- {
		if n < len(path) && path[n] != '.' && path[n] != '[' {
			continue
		}
		f := p.byName(path[:n])
		switch {
		case f == nil:
		case n == len(path), f.msg != nil && f.shape == shapeSingular, f.shape == shapeMap && path[n] == '[',
			f.shape == shapeList && string(path[n:]) == "[]":
			return f, n
		case other == nil:
			other, size = f, n
		}
	}
	if other == nil {
		if size = bytes.IndexAny(path, ".["); size < 0 {
			size = len(path)
		}
	}
	return other, size
}

// settle puts the path of an error together. It starts with the names of the chain.
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

// pointer returns the path of the field in the form that errors use.
func (f *Field) pointer() string {
	var trail []string
	for _, g := range slices.Backward(f.chain) {
		trail = append(trail, g.name)
	}
	return joinPath(trail)
}

// shorten cuts a name that is too long for an error.
func shorten(name string) string {
	if len(name) > maxSegment {
		return strings.ToValidUTF8(name[:maxSegment], "") + "..."
	}
	return name
}

// setEntry makes the field one entry of the map that the path ends at. rest is the key in brackets.
// The key may hold brackets, but not "][" or "].". So "filter[a][b]" is an error: it probably means
// an entry within an entry.
func (f *Field) setEntry(rest []byte) error {
	m := f.last()
	if rest[len(rest)-1] != ']' || bytes.Contains(rest, []byte("][")) || bytes.Contains(rest, []byte("].")) {
		return fmt.Errorf("%q is a map; write an entry of it as one key in brackets at the end of the path", m.fd.Name())
	}
	key := rest[1 : len(rest)-1]
	f.entry = true
	k := m.mapKey
	if k.kind == kindString {
		f.key = append(appendVarint(appendTag(nil, k.tag), uint64(len(key))), key...)
		f.text = string(key)
		return nil
	}
	v, ok := parseMapKey(key, k.kind)
	if !ok {
		return fmt.Errorf("%q is not a map key of kind %s", shorten(string(key)), k.fd.Kind())
	}
	f.key = appendBits(appendTag(nil, k.tag), k, v)
	f.number = k.keyOrder(v)
	return nil
}

// prepare makes what WireToJSON needs.
func (f *Field) prepare() {
	f.once.Do(func() {
		f.bare = new(field)
		*f.bare = *f.last()
		if f.narrowed != nil {
			*f.bare = *f.narrowed
		}
		f.bare.key, f.bare.keySize, f.bare.zero = "", 0, ""
		f.absent = f.absentText(f.root.compiler)
	})
}

// Key returns the key of a map entry as a field of the wire. It reports whether the field is a map
// entry.
func (f *Field) Key() ([]byte, bool) { return f.key, f.entry }

func (f *Field) last() *field { return f.chain[len(f.chain)-1] }

// Descriptor returns the field that the path ends at. For a map entry it is the map.
func (f *Field) Descriptor() protoreflect.FieldDescriptor { return f.last().fd }

// Path returns the fields of the path, from the message down.
func (f *Field) Path() []protoreflect.FieldDescriptor { return slices.Clone(f.path) }

// within calls write to append the field. It encloses the field in the messages of the path and
// fills in their lengths.
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

// AppendJSON appends the wire form of the field, set to a JSON value. This is how a request body is
// bound to a field. A list or a map is bound as a whole. As in a message, null sets nothing, unless
// null is a value of the field's type. Required fields in the value may be missing, because other
// parameters may set them. Errors are of type *SyntaxError.
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
