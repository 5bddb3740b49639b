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

// Field is one field, maybe nested, of a codec's message. Immutable, safe for concurrent use.
type Field struct {
	root  *program
	chain []*field // from the message down
	path  []protoreflect.FieldDescriptor

	entry  bool   // one entry of the map that the path ends at
	key    []byte // the entry's key as a field of the wire
	text   string // the entry's key if it is a string
	number uint64 // the entry's key as keyOrder has it, if not

	// What WireToJSON needs is made when it is first called.
	once   sync.Once
	bare   *field // the last of the chain, without its name, to be written alone
	absent string // JSON of the field where it is not set
}

// Field resolves a path of field names (proto or JSON name) joined by dots, as HTTP rules and query
// parameters write it: "book.name". All but the last must be singular messages. The forms with
// brackets are "labels[key]" for an entry of a map, "book[name]" for "book.name", and "tags[]" for
// the list "tags".
//
// A JSON name may have dots and brackets in it. Of the names that the path may begin with the
// longest counts that makes sense with what follows it. The error says which name is wrong, and
// why.
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

// longestName returns the field of the longest name that the path begins with and that makes sense
// with what follows it, and the size of the name. If there is none, the size is that of the first
// name.
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

// shorten keeps a name from filling an error.
func shorten(name string) string {
	if len(name) > maxSegment {
		return strings.ToValidUTF8(name[:maxSegment], "") + "..."
	}
	return name
}

// setEntry makes the field one entry of the map that the path ends at, given the key in brackets.
// The key may hold brackets, but not "][" or "].". So "filter[a][b]" is an error: whoever writes it
// means an entry within an entry.
func (f *Field) setEntry(rest []byte) error {
	m := f.last()
	if rest[len(rest)-1] != ']' || bytes.Contains(rest, []byte("][")) || bytes.Contains(rest, []byte("].")) {
		return fmt.Errorf("%q is a map, whose entry has one key in brackets at the end of the path", m.fd.Name())
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
		return fmt.Errorf("%q is no map key of kind %s", shorten(string(key)), k.fd.Kind())
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
		f.bare.key, f.bare.keySize, f.bare.zero = "", 0, ""
		f.absent = f.absentText(f.root.compiler)
	})
}

// Key returns the key of the map entry that the field is, as the wire has it, and whether it is
// one.
func (f *Field) Key() ([]byte, bool) { return f.key, f.entry }

func (f *Field) last() *field { return f.chain[len(f.chain)-1] }

// Descriptor returns the field that the path ends at: the map, if it names an entry of one.
func (f *Field) Descriptor() protoreflect.FieldDescriptor { return f.last().fd }

// Path returns the proto field names from the message down.
func (f *Field) Path() []protoreflect.FieldDescriptor { return slices.Clone(f.path) }

// within appends the field that write appends, in the messages that enclose it, and fills in their
// lengths.
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

// AppendJSON appends the wire form of the field set to the JSON value: a request body bound to a
// field. Lists and maps are bound whole. As in a message, null sets nothing, unless null is a value
// of the field's type. Required fields within need not be set: other parameters may set them.
// Errors are of type *SyntaxError.
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
