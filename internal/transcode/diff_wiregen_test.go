package transcode_test

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// These levels say how far generated wire departs from what a serialiser writes.
const (
	canonical = iota // fields once and in order, lists and maps contiguous
	// scrambled has any order, repeated singulars, split messages and lists, unknown fields, and
	// packed and unpacked lists mixed.
	scrambled
	defective  // also wrong wire types, bad UTF-8, bad lengths and tags
	wireLevels // number of levels
)

// A wireGen writes random messages in the wire format.
type wireGen struct {
	*tape
	schema *schema
	level  int
	budget int // how many more fields may be written; prevents exponential growth
}

func genWire(t *tape, s *schema, md protoreflect.MessageDescriptor, level int) []byte {
	g := &wireGen{tape: t, schema: s, level: level, budget: 60}
	wire := g.message(nil, md, 0)
	if level == defective && g.oneIn(3) {
		wire = g.damage(wire)
	}
	return wire
}

// message appends the content of a message.
func (g *wireGen) message(dst []byte, md protoreflect.MessageDescriptor, depth int) []byte {
	if !g.oneIn(5) {
		if known, ok := g.knownType(dst, md, depth); ok {
			return known
		}
	}
	n := g.few()
	if depth == 0 {
		n += g.n(6)
	}
	if depth > 6 {
		n = 0
	}
	fields := md.Fields()
	if g.level == canonical || g.oneIn(3) {
		// Write the declared fields in order, without some of them.
		start := 0
		if fields.Len() > 0 {
			start = g.n(fields.Len())
		}
		for i := start; i < fields.Len() && n > 0; i += 1 + g.n(4) {
			fd := fields.Get(i)
			if fd.ContainingOneof() != nil && fd.ContainingOneof().Fields().Get(0) != fd && g.level == canonical {
				continue
			}
			dst = g.field(dst, fd, depth)
			n--
		}
		return g.required(dst, md, depth)
	}
	for range n {
		switch {
		case g.oneIn(6):
			dst = g.unknown(dst, depth)
		case g.oneIn(4):
			dst = g.extension(dst, md, depth)
		case fields.Len() > 0:
			dst = g.field(dst, fields.Get(g.n(fields.Len())), depth)
		}
	}
	return g.required(dst, md, depth)
}

// required appends the required fields. Without them a message would hardly ever be accepted.
func (g *wireGen) required(dst []byte, md protoreflect.MessageDescriptor, depth int) []byte {
	if g.oneIn(12) {
		return dst
	}
	numbers := md.RequiredNumbers()
	for i := range numbers.Len() {
		fd := md.Fields().ByNumber(numbers.Get(i))
		if fd.Message() != nil && depth > 3 {
			continue
		}
		dst = g.field(dst, fd, depth)
	}
	return dst
}

func (g *wireGen) extension(dst []byte, md protoreflect.MessageDescriptor, depth int) []byte {
	var all []protoreflect.FieldDescriptor
	for _, name := range judgedExtensions {
		xt, err := g.schema.types.FindExtensionByName(name)
		if err == nil && xt.TypeDescriptor().ContainingMessage().FullName() == md.FullName() {
			all = append(all, xt.TypeDescriptor())
		}
	}
	if len(all) == 0 {
		return dst
	}
	return g.field(dst, all[g.n(len(all))], depth)
}

// field appends one field, all elements of it.
func (g *wireGen) field(dst []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	if g.budget--; g.budget < 0 {
		return dst
	}
	if g.level == defective && g.oneIn(12) {
		return g.wrongType(dst, fd)
	}
	switch {
	case fd.IsMap():
		for range g.few() {
			dst = g.tag(dst, fd.Number(), protowire.BytesType)
			dst = g.bytes(dst, g.mapEntry(fd, depth))
		}
		return dst
	case fd.IsList():
		return g.list(dst, fd, depth)
	default:
		times := 1
		if g.level > canonical && g.oneIn(5) {
			times = 2 // the last scalar wins, messages merge
		}
		for range times {
			dst = g.single(dst, fd, depth)
		}
		return dst
	}
}

func (g *wireGen) list(dst []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	n := g.few()
	if g.oneIn(10) {
		n += g.n(30)
	}
	if !packable(fd) {
		for range min(n, 6) {
			dst = g.single(dst, fd, depth)
		}
		return dst
	}
	for n > 0 || g.level > canonical && g.oneIn(10) {
		chunk := n
		packed := fd.IsPacked()
		if g.level > canonical && g.oneIn(3) {
			packed = !packed
			chunk = g.n(n + 1)
		}
		if !packed {
			for range chunk {
				dst = g.single(dst, fd, depth)
			}
		} else {
			var content []byte
			for range chunk {
				content = g.scalar(content, fd)
			}
			dst = g.tag(dst, fd.Number(), protowire.BytesType)
			dst = g.bytes(dst, content)
		}
		n -= chunk
		if chunk == 0 {
			break
		}
	}
	return dst
}

// mapEntry returns an entry of a map.
func (g *wireGen) mapEntry(fd protoreflect.FieldDescriptor, depth int) []byte {
	key, value := fd.MapKey(), fd.MapValue()
	if g.level == canonical {
		return g.single(g.single(nil, key, depth+1), value, depth+1)
	}
	var entry []byte
	parts := pick(g.tape, "kv", "kv", "kv", "vk", "k", "v", "", "kkv", "kvv", "kvu", "ukv")
	for _, part := range parts {
		switch part {
		case 'k':
			entry = g.single(entry, key, depth+1)
		case 'v':
			entry = g.single(entry, value, depth+1)
		default:
			entry = g.unknown(entry, depth+1)
		}
	}
	return entry
}

// single appends the tag and the value of one element.
func (g *wireGen) single(dst []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	if md := fd.Message(); md != nil {
		content := g.message(nil, md, depth+1)
		if fd.Kind() == protoreflect.GroupKind {
			dst = g.tag(dst, fd.Number(), protowire.StartGroupType)
			dst = append(dst, content...)
			return g.tag(dst, fd.Number(), protowire.EndGroupType)
		}
		dst = g.tag(dst, fd.Number(), protowire.BytesType)
		return g.bytes(dst, content)
	}
	dst = g.tag(dst, fd.Number(), wireTypeOf(fd.Kind()))
	return g.scalar(dst, fd)
}

// scalar appends a value without its tag.
func (g *wireGen) scalar(dst []byte, fd protoreflect.FieldDescriptor) []byte {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if g.level > canonical && g.oneIn(6) {
			return protowire.AppendVarint(dst, g.uint64())
		}
		return protowire.AppendVarint(dst, uint64(g.n(2)))
	case protoreflect.EnumKind:
		return g.varint(dst, uint64(g.enum(fd.Enum())))
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return g.varint(dst, uint64(g.int64()))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return g.varint(dst, protowire.EncodeZigZag(g.int64()))
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(dst, uint32(g.int64()))
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(dst, uint64(g.int64()))
	case protoreflect.FloatKind:
		if g.oneIn(4) {
			return protowire.AppendFixed32(dst, uint32(g.uint64()))
		}
		return protowire.AppendFixed32(dst, math.Float32bits(float32(g.float())))
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(dst, math.Float64bits(g.float()))
	case protoreflect.BytesKind:
		return g.string(dst, pick(g.tape, g.text(), g.badText()))
	default: // string
		if g.level == defective && g.oneIn(10) {
			return g.string(dst, g.badText())
		}
		return g.string(dst, g.text())
	}
}

func (g *wireGen) enum(ed protoreflect.EnumDescriptor) int64 {
	if g.oneIn(6) {
		return g.int64()
	}
	return int64(ed.Values().Get(g.n(ed.Values().Len())).Number())
}

// varint appends a number, sometimes in more bytes than it needs.
func (g *wireGen) varint(dst []byte, v uint64) []byte {
	if g.level == canonical || !g.oneIn(12) {
		return protowire.AppendVarint(dst, v)
	}
	dst = protowire.AppendVarint(dst, v)
	for range g.n(3) {
		if protowire.SizeVarint(v) > 7 {
			break
		}
		dst[len(dst)-1] |= 0x80
		dst = append(dst, 0)
	}
	return dst
}

// tag appends a tag, sometimes in more bytes than it needs.
func (g *wireGen) tag(dst []byte, num protowire.Number, typ protowire.Type) []byte {
	return g.padded(dst, protowire.EncodeTag(num, typ))
}

// bytes appends a length, sometimes in more bytes than it needs, and the bytes.
func (g *wireGen) bytes(dst, content []byte) []byte {
	return append(g.padded(dst, uint64(len(content))), content...)
}

func (g *wireGen) string(dst []byte, content string) []byte { return g.bytes(dst, []byte(content)) }

func (g *wireGen) padded(dst []byte, v uint64) []byte {
	dst = protowire.AppendVarint(dst, v)
	if g.level == canonical || !g.oneIn(30) {
		return dst
	}
	for range 1 + g.n(10-protowire.SizeVarint(v)) {
		dst[len(dst)-1] |= 0x80
		dst = append(dst, 0)
	}
	return dst
}

// unknown appends a field whose number does not exist in any message.
func (g *wireGen) unknown(dst []byte, depth int) []byte {
	num := pick[protowire.Number](g.tape, 7777, 7777, 1<<29-1, 3000, 29999)
	switch g.n(6) {
	case 0:
		return g.varint(protowire.AppendTag(dst, num, protowire.VarintType), g.uint64())
	case 1:
		return protowire.AppendFixed32(protowire.AppendTag(dst, num, protowire.Fixed32Type), 7)
	case 2:
		return protowire.AppendFixed64(protowire.AppendTag(dst, num, protowire.Fixed64Type), 7)
	case 3:
		return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), g.badText())
	default:
		dst = protowire.AppendTag(dst, num, protowire.StartGroupType)
		if depth < 5 {
			for range g.n(3) {
				dst = g.unknown(dst, depth+1)
			}
		}
		if g.level == defective && g.oneIn(8) {
			num++
		}
		return protowire.AppendTag(dst, num, protowire.EndGroupType)
	}
}

// wrongType appends a field with this number and a random wire type.
func (g *wireGen) wrongType(dst []byte, fd protoreflect.FieldDescriptor) []byte {
	switch typ := protowire.Type(g.n(8)); typ {
	case protowire.VarintType:
		return protowire.AppendVarint(protowire.AppendTag(dst, fd.Number(), typ), g.uint64()>>g.n(64))
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(protowire.AppendTag(dst, fd.Number(), typ), uint32(g.uint64()))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(protowire.AppendTag(dst, fd.Number(), typ), g.uint64())
	case protowire.BytesType:
		return protowire.AppendString(protowire.AppendTag(dst, fd.Number(), typ), pick(g.tape, g.text(), g.badText(), "\x08\x01", "\x0a\x00", "\x00"))
	case protowire.StartGroupType:
		dst = protowire.AppendTag(dst, fd.Number(), typ)
		return protowire.AppendTag(g.unknown(dst, 4), fd.Number(), protowire.EndGroupType)
	default:
		return protowire.AppendTag(dst, fd.Number(), typ)
	}
}

// damage cuts, overwrites, removes, repeats or inserts bytes.
func (g *wireGen) damage(wire []byte) []byte {
	for range 1 + g.n(3) {
		at := g.n(len(wire) + 1)
		switch g.n(5) {
		case 0:
			wire = wire[:at]
		case 1:
			if at < len(wire) {
				wire[at] = byte(g.n(256))
			}
		case 2:
			if at < len(wire) {
				wire = append(wire[:at:at], wire[at+1:]...)
			}
		case 3:
			wire = append(wire[:len(wire):len(wire)], wire[at:]...)
		default:
			insert := pick(g.tape, "\x00", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", "\x07", "\x0b", "\x0c", "\xff\xff\xff\xff\x0f", "\x80\x80\x80\x80\x10")
			wire = append(wire[:at:at], append([]byte(insert), wire[at:]...)...)
		}
	}
	return wire
}

func packable(fd protoreflect.FieldDescriptor) bool {
	switch wireTypeOf(fd.Kind()) {
	case protowire.VarintType, protowire.Fixed32Type, protowire.Fixed64Type:
		return fd.Message() == nil
	default:
		return false
	}
}

func wireTypeOf(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	default:
		return protowire.VarintType
	}
}
