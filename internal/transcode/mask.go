package transcode

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A mask says which parts of a message are written. Its text is a list of paths, as in a
// google.protobuf.FieldMask. mask_parse.go has the grammar.
//
// A mask is compiled to a program of its own for each message that it cuts. That program knows only
// the fields that were asked for, so the encoder skips all other fields on the wire as it skips
// unknown ones. A message that was asked for as a whole keeps its program.

const (
	// maxMaskSize is how long the text of a mask may be, in bytes.
	maxMaskSize = 4096
	// maxMaskFields is how many fields and map keys a compiled mask may have in all messages. Each
	// takes about half a kilobyte.
	maxMaskFields = 512
)

// Mask returns a codec that writes only the parts of a message that the mask names. Paths have the
// names of fields or their JSON names. An empty mask names the whole message, and so does "*". The
// error says which path is wrong, and what was expected.
//
// A masked codec is for writing JSON only. Required fields that the mask does not name are not
// checked.
func (c *Codec) Mask(text string) (*Codec, error) {
	m, err := c.program.masked(text)
	if err != nil {
		return nil, err
	}
	if m.program == c.program {
		return c, nil
	}
	return m, nil
}

// Mask returns a field whose value is written in part. Paths begin within the value: in a message
// or in each message of a list at its fields, and in a map at its keys.
func (f *Field) Mask(text string) (*Field, error) {
	if strings.TrimSpace(text) == "" {
		return f, nil
	}
	value := f.last()
	if f.entry {
		value = value.mapValue
	}
	narrowed := *value
	if value.msg != nil && value.msg.hasParts() && !strings.ContainsAny(text, "*") {
		// The program is kept with the type, and the list needs none of its own.
		m, err := value.msg.masked(text)
		if err != nil {
			return nil, err
		}
		narrowed.msg = m.program
	} else {
		b := maskBuilder{text: text, left: maxMaskFields}
		node := new(maskNode)
		if err := b.parse(func() error { return b.path(node, nil, value) }); err != nil {
			return nil, err
		}
		if err := b.narrow(&narrowed, node); err != nil {
			return nil, err
		}
	}
	g := &Field{root: f.root, chain: f.chain, path: f.path, entry: f.entry, key: f.key, text: f.text, number: f.number, mask: text}
	g.narrowed = &narrowed
	if f.entry {
		whole := *f.last()
		whole.mapValue = &narrowed
		g.narrowed = &whole
	}
	return g, nil
}

// hasParts reports whether a path can lead into messages of the type. Well-known types are single
// values in JSON.
func (p *program) hasParts() bool {
	return p.use() == nil && (p.wkt == notWellKnown || p.wkt == wktEmpty)
}

// masked returns the codec of the message type with a mask. Its program is p itself if the mask
// asks for the whole message.
func (p *program) masked(text string) (*Codec, error) {
	if strings.TrimSpace(text) == "" {
		return &Codec{program: p}, nil
	}
	key := cachedMask{p, text}
	if m := p.compiler.masks.find(key); m != nil {
		return m, nil
	}
	b := maskBuilder{text: text, left: maxMaskFields}
	node := new(maskNode)
	if err := b.parse(func() error { return b.path(node, p, nil) }); err != nil {
		return nil, err
	}
	masked, err := b.message(node, p)
	if err != nil {
		return nil, err
	}
	m := &Codec{program: masked, mask: strings.Clone(text)} // The text may be part of a long URL.
	p.compiler.masks.keep(p, m)
	return m, nil
}

// A maskNode says what was asked for of a message, of the messages of a list, or of a map.
type maskNode struct {
	// all says that everything was asked for. The other fields do not count then.
	all    bool
	fields []maskField
	each   *maskNode // Of the values of a map, whatever their keys are. Nil: nothing.
	keys   []maskKey // Of the values of single keys of a map.
}

type maskField struct {
	f    *field
	node *maskNode
}

// A maskKey is the key of a map entry. It is a string, or a number in the form of keyOrder.
type maskKey struct {
	text   string
	number uint64
	node   *maskNode
}

// field returns the node of a field, which is added if it is new.
func (n *maskNode) field(f *field) *maskNode {
	for i := range n.fields {
		if n.fields[i].f == f {
			return n.fields[i].node
		}
	}
	child := new(maskNode)
	n.fields = append(n.fields, maskField{f, child})
	return child
}

// key returns the node of a map entry, which is added if it is new.
func (n *maskNode) key(text string, number uint64) *maskNode {
	for i := range n.keys {
		if n.keys[i].text == text && n.keys[i].number == number {
			return n.keys[i].node
		}
	}
	child := new(maskNode)
	n.keys = append(n.keys, maskKey{text, number, child})
	return child
}

// with returns what a and b ask for together. Neither is changed.
func (n *maskNode) with(other *maskNode) *maskNode {
	switch {
	case other == nil || n.all:
		return n
	case other.all:
		return other
	}
	sum := &maskNode{fields: slices.Clone(n.fields), each: n.each, keys: slices.Clone(n.keys)}
	for _, o := range other.fields {
		i := slices.IndexFunc(sum.fields, func(m maskField) bool { return m.f == o.f })
		if i < 0 {
			sum.fields = append(sum.fields, o)
		} else {
			sum.fields[i].node = sum.fields[i].node.with(o.node)
		}
	}
	if sum.each == nil {
		sum.each = other.each
	} else {
		sum.each = sum.each.with(other.each)
	}
	for _, o := range other.keys {
		i := slices.IndexFunc(sum.keys, func(k maskKey) bool { return k.text == o.text && k.number == o.number })
		if i < 0 {
			sum.keys = append(sum.keys, o)
		} else {
			sum.keys[i].node = sum.keys[i].node.with(o.node)
		}
	}
	return sum
}

// message makes the program of a message type with the mask of the node.
func (b *maskBuilder) message(node *maskNode, p *program) (*program, error) {
	if node.all {
		return p, nil
	}
	if err := b.count(len(node.fields)); err != nil {
		return nil, err
	}
	slices.SortFunc(node.fields, func(x, y maskField) int {
		if min(x.f.index, y.f.index) >= extensionIndex {
			return cmp.Compare(x.f.fd.FullName(), y.f.fd.FullName())
		}
		return cmp.Compare(x.f.index, y.f.index)
	})
	m := &program{compiler: p.compiler, md: p.md, wkt: p.wkt, compiled: true, oneofs: p.oneofs, whole: p}
	m.fields = make([]field, len(node.fields))
	m.indexed.Store(p.indexed.Load())
	last := int32(0)
	for i, child := range node.fields {
		f := &m.fields[i]
		*f = *child.f
		f.index, f.bit, f.next = int32(i), 0, nil
		if err := b.narrow(f, child.node); err != nil {
			return nil, err
		}
		if f.required {
			m.required++
		}
		if f.num < last {
			m.indexed.Store(true)
		}
		last = f.num
	}
	m.number()
	m.ready.Store(true)
	return m, nil
}

// narrow cuts the messages of a field, which is a copy.
func (b *maskBuilder) narrow(f *field, node *maskNode) (err error) {
	switch {
	case node.all:
	case f.shape == shapeMap && len(node.keys) == 0:
		value := *f.mapValue
		f.mapValue = &value
		err = b.narrow(f.mapValue, node.each)
	case f.shape == shapeMap:
		f.picked, err = b.pick(f, node)
	default:
		f.msg, err = b.message(node, f.msg)
	}
	return err
}

// picked are the entries of a map that were asked for. Each has the field by which its value is
// written.
type picked struct {
	others  *field // For keys without a field of their own. Nil: they were not asked for.
	texts   map[string]*field
	numbers map[uint64]*field
}

func (b *maskBuilder) pick(f *field, node *maskNode) (*picked, error) {
	if err := b.count(len(node.keys)); err != nil {
		return nil, err
	}
	p := new(picked)
	if node.each != nil {
		value := *f.mapValue
		if err := b.narrow(&value, node.each); err != nil {
			return nil, err
		}
		p.others = &value
	}
	for _, k := range node.keys {
		value := *f.mapValue
		if err := b.narrow(&value, k.node.with(node.each)); err != nil {
			return nil, err
		}
		if f.mapKey.kind != kindString {
			if p.numbers == nil {
				p.numbers = make(map[uint64]*field, len(node.keys))
			}
			p.numbers[k.number] = &value
			continue
		}
		if p.texts == nil {
			p.texts = make(map[string]*field, len(node.keys))
		}
		p.texts[k.text] = &value
	}
	return p, nil
}

// value returns the field by which the value of an entry is written. It is nil if the entry was not
// asked for.
func (p *picked) value(in []byte, entry mapEntry) *field {
	var f *field
	if entry.keyEnd < 0 {
		f = p.numbers[entry.key]
	} else {
		f = p.texts[string(in[entry.key:uint64(entry.keyEnd)])]
	}
	if f == nil {
		return p.others
	}
	return f
}

// pick drops the entries noted from base on that were not asked for, and reports whether one is
// left.
func (e *encoder) pick(f *field, base int) bool {
	kept := e.entries[:base]
	for _, entry := range e.entries[base:] {
		if f.picked.value(e.in, entry) != nil {
			kept = append(kept, entry)
		}
	}
	e.entries = kept
	return len(kept) > base
}

// otherMember reports whether a field that the mask does not name belongs to a oneof. If it does,
// its tag is that of the member g.
func (p *program) otherMember(tag uint64) (g *field, ok bool) {
	g = p.whole.byNumber(tag >> 3)
	return g, g != nil && g.oneof >= 0 && g.takes(tag)
}

// count counts fields of the compiled mask.
func (b *maskBuilder) count(n int) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("expected at most %d fields in all paths together", maxMaskFields)
	}
	return nil
}

// A maskCache keeps masks of all message types of a compiler. Most clients ask for the same few
// parts all the time, and compiling a mask costs more than writing a small message.
type maskCache struct {
	mu    sync.RWMutex
	masks map[cachedMask]*Codec
}

// A cachedMask is a mask of a message type.
type cachedMask struct {
	p    *program
	text string
}

const (
	// maxCachedMasks is how many masks are kept.
	maxCachedMasks = 128
	// maxCachedMask is how long a mask that is kept may be, in bytes. With the shortest names it
	// takes some 60 KiB.
	maxCachedMask = 256
)

func (c *maskCache) find(key cachedMask) *Codec {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.masks[key]
}

// keep keeps a mask of a message type, in place of any other one if there are too many.
func (c *maskCache) keep(p *program, m *Codec) {
	if len(m.mask) > maxCachedMask {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.masks == nil {
		c.masks = make(map[cachedMask]*Codec)
	}
	for old := range c.masks {
		if len(c.masks) < maxCachedMasks {
			break
		}
		delete(c.masks, old)
	}
	c.masks[cachedMask{p, m.mask}] = m
}
