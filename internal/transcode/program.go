package transcode

import (
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Wire types of the protobuf encoding.
const (
	wireVarint     = 0
	wireFixed64    = 1
	wireBytes      = 2
	wireStartGroup = 3
	wireEndGroup   = 4
	wireFixed32    = 5
)

// maxFieldNumber is the largest field number that protobuf allows.
const maxFieldNumber = 1<<29 - 1

// A kind says how one value is read and written in both formats.
type kind uint8

// The numbers, bools and enums come first.
const (
	kindBool kind = iota
	kindInt32
	kindSint32
	kindUint32
	kindInt64
	kindSint64
	kindUint64
	kindSfixed32
	kindFixed32
	kindSfixed64
	kindFixed64
	kindFloat
	kindDouble
	kindEnum
	kindNull // the enum google.protobuf.NullValue
	kindString
	kindBytes
	kindMessage
	kindGroup // a message between start and end tags: proto2 groups, editions' DELIMITED
)

// A shape says whether a field holds one value, a list or a map.
type shape uint8

const (
	shapeSingular shape = iota
	shapeList
	shapeMap
)

// A form is the kind of a singular field, or the shape of any other field. The one pass over wire
// decides by it.
type form = kind

const (
	formList form = kindGroup + 1 + iota
	formMap
)

// A way says how the value of a member is read from JSON.
type way uint8

const (
	wayOther   way = iota // by memberValue
	wayQuick              // by field.put, where it is plain
	wayMessage            // by delimited, if it is not null
	wayList               // by list, if it is not null
)

// A quick says what field.put does.
type quick uint8

const (
	quickNone quick = iota // nothing
	quickString
	quickInteger // an integer from field.low to field.high
	quickDouble
	quickBool
	quickEnum
)

// A program holds everything that is needed to convert one message type. It is compiled from the
// type's descriptor when it is first used.
type program struct {
	compiler *Compiler
	md       protoreflect.MessageDescriptor

	// mu is held while compiling. It guards compiled and everything that compiling fills; ready
	// tells readers that they need not take it.
	mu       sync.Mutex
	compiled bool // with or without success
	ready    atomic.Bool
	err      error // why the type cannot be converted

	wkt      wellKnown
	fields   []field // in the order of declaration
	dense    []uint16
	sparse   map[int32]*field
	names    nameTable // index in fields, by JSON name and by proto name
	required int       // number of required fields
	oneofs   int       // number of oneofs with more than one member
	wide     bool      // has too many fields for a bit set of one word
	ranges   bool      // has extension ranges

	// indexed says that wire of this type is indexed before it is written as JSON. The reason is
	// that the fields are not declared in the order of their numbers, or that wire in another order
	// was seen before.
	indexed atomic.Bool

	extensions extensionCache

	// whole is set if this program writes only a part of the messages, see Codec.Mask. It is the
	// program that writes all of them.
	whole *program
	// sieve says whether messages of the type may hold hidden fields, see Compiler.sieved.
	sieve atomic.Uint32
}

// A field is what is known about one field. Extensions are fields too, and so are the key and the
// value of a map's entry.
type field struct {
	kind     kind
	form     form
	shape    shape
	wire     uint8 // wire type of one value
	implicit bool  // has no presence: the zero value is not written
	required bool
	keepNull bool // JSON null is a value, not an absence
	utf8     bool // wire with invalid UTF-8 is malformed
	packable bool // the wire may hold many values in one field
	counted  bool // is required, or in a oneof with more than one member
	zigzag   bool
	fixed    uint8
	way      way
	quick    quick
	keySize  uint8 // length of key if it fits keyWords

	// tag is that of one value. byte1 is the same if it is one byte, and otherwise equals no byte.
	tag   uint32
	byte1 uint32
	// pack is the tag of a packed list. It is zero if the list is not written packed.
	pack uint32
	num  int32
	// index is the place in the order of declaration. Extensions come after all fields.
	index int32
	// oneof is the index among the oneofs with more than one member, or -1.
	oneof int32

	// bit is the field's bit in objectState.seen. It is 0 in a wide message, and for an extension.
	bit uint64
	// match and mask are for comparing the first sixteen bytes of key.
	match, mask [2]uint64
	// low and high are the range of an integer, cut at the range of int64.
	low, high int64

	next     *field // in the order of declaration
	msg      *program
	enum     *enumTable
	mapKey   *field
	mapValue *field
	picked   *picked // The entries of the map that are written. Nil: all.

	keyWords [32]byte
	key      string // `"name":`
	zero     string // `"name":0,`, as EmitDefaults and EmitUnpopulated write it
	name     string // as in key
	fd       protoreflect.FieldDescriptor
}

// takes reports whether the field is read from a value with this tag, which has the field's number.
// With another wire type the value counts as unknown.
func (f *field) takes(tag uint64) bool {
	return uint32(tag) == f.tag || f.packable && tag&7 == wireBytes
}

// extensionIndex is the index of the first extension that was found. Extensions are written after
// the message's own fields, by their full names.
const extensionIndex = 1 << 20

// byNumber returns the field of a number, or nil. Extensions are not found here.
func (p *program) byNumber(num uint64) *field {
	if num < uint64(len(p.dense)) {
		if i := p.dense[num]; i != 0 {
			return &p.fields[i-1]
		}
		return nil
	}
	if p.sparse == nil {
		return nil
	}
	return p.sparse[int32(num)]
}

// fieldAt returns the field of an index.
func (p *program) fieldAt(i uint32) *field {
	if i < extensionIndex {
		return &p.fields[i]
	}
	p.extensions.mu.RLock()
	defer p.extensions.mu.RUnlock()
	return p.extensions.slots[i-extensionIndex]
}

// byName returns the field of a JSON or proto name, or nil. Extensions are not found here.
func (p *program) byName(name []byte) *field {
	if i, ok := p.names.find(name); ok {
		return &p.fields[i]
	}
	return nil
}

// use compiles the program when it is first used. If that fails, every call returns the error.
func (p *program) use() error {
	if p.ready.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.compiled {
		p.compile()
		p.compiled = true
		p.ready.Store(p.err == nil)
	}
	return p.err
}

// An extensionCache keeps the extensions of one message type that were asked for and found. It is
// bounded by the schema, because what is not found is not kept.
type extensionCache struct {
	mu       sync.RWMutex
	byNumber map[int32]*field
	byName   map[string]*field
	slots    []*field
}
