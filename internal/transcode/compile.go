package transcode

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// A Compiler compiles each message type when it is first used, and keeps the result. It is safe for
// concurrent use.
type Compiler struct {
	types Resolver
	opts  Options
	seed  maphash.Seed

	mu       sync.RWMutex
	programs map[protoreflect.MessageDescriptor]*program
	enums    map[protoreflect.EnumDescriptor]*enumTable
	anyTypes map[string]*program

	hidden map[protoreflect.FullName]bool // Options.Hidden; nil: none
	masks  maskCache
	sieves sync.Mutex // held while Compiler.sieved searches

	// numbers is the same compiler with EnumsAsNumbers. withEnumNumbers makes it.
	numbers     *Compiler
	numbersOnce sync.Once

	decoders sync.Pool
	encoders sync.Pool
}

// NewCompiler returns a compiler. It looks up extensions, and the types of the messages in an Any,
// in types. If types is nil, none of them is known.
func NewCompiler(types Resolver, opts Options) *Compiler {
	if opts.MaxDepth <= 0 {
		opts.MaxDepth = DefaultMaxDepth
	}
	if opts.MaxWireDepth <= 0 {
		opts.MaxWireDepth = DefaultMaxWireDepth
	}
	if opts.MaxOutput <= 0 {
		opts.MaxOutput = DefaultMaxOutput
	}
	if opts.MaxElements <= 0 {
		opts.MaxElements = DefaultMaxElements
	}
	opts.EmitDefaults = opts.EmitDefaults || opts.EmitUnpopulated
	c := &Compiler{
		types:    types,
		seed:     maphash.MakeSeed(),
		opts:     opts,
		programs: make(map[protoreflect.MessageDescriptor]*program),
		enums:    make(map[protoreflect.EnumDescriptor]*enumTable),
		anyTypes: make(map[string]*program),
		hidden:   hiddenFields(opts.Hidden),
	}
	c.decoders.New = func() any { return &decoder{c: c} }
	c.encoders.New = func() any { return &encoder{c: c} }
	return c
}

// withEnumNumbers returns a compiler with the same options and EnumsAsNumbers. It is made when it
// is first needed.
func (c *Compiler) withEnumNumbers() *Compiler {
	if c.opts.EnumsAsNumbers {
		return c
	}
	c.numbersOnce.Do(func() {
		opts := c.opts
		opts.EnumsAsNumbers = true
		c.numbers = NewCompiler(c.types, opts)
	})
	return c.numbers
}

// Codec returns the codec of a message type, which may be recursive. It fails for a type that is
// not linked (a placeholder) and for proto1's MessageSet. If only the type of a field cannot be
// converted, then only messages that use the field fail.
func (c *Compiler) Codec(md protoreflect.MessageDescriptor) (*Codec, error) {
	p := c.program(md)
	if err := p.use(); err != nil {
		return nil, err
	}
	return &Codec{program: p}, nil
}

// A Compiler is a Resolver, too. Code that has the compiler of a schema needs nothing else to write
// an Any.
var _ Resolver = (*Compiler)(nil)

// FindMessageByName implements Resolver.
func (c *Compiler) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if c.types == nil {
		return nil, protoregistry.NotFound
	}
	return c.types.FindMessageByName(name)
}

// FindMessageByURL implements Resolver.
func (c *Compiler) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if c.types == nil {
		return nil, protoregistry.NotFound
	}
	return c.types.FindMessageByURL(url)
}

// FindExtensionByName implements Resolver.
func (c *Compiler) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if c.types == nil {
		return nil, protoregistry.NotFound
	}
	return c.types.FindExtensionByName(name)
}

// FindExtensionByNumber implements Resolver.
func (c *Compiler) FindExtensionByNumber(
	message protoreflect.FullName, number protoreflect.FieldNumber,
) (protoreflect.ExtensionType, error) {
	if c.types == nil {
		return nil, protoregistry.NotFound
	}
	return c.types.FindExtensionByNumber(message, number)
}

// program returns the program of a message type, which may not be compiled yet.
func (c *Compiler) program(md protoreflect.MessageDescriptor) *program {
	c.mu.RLock()
	p := c.programs[md]
	c.mu.RUnlock()
	if p != nil {
		return p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.programs[md]; p != nil {
		return p
	}
	p = &program{compiler: c, md: md}
	c.programs[md] = p
	return p
}

// enum returns the table of an enum type.
func (c *Compiler) enum(ed protoreflect.EnumDescriptor) *enumTable {
	c.mu.RLock()
	t := c.enums[ed]
	c.mu.RUnlock()
	if t != nil {
		return t
	}
	t = compileEnum(ed, c.opts)
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.enums[ed]; other != nil {
		return other
	}
	c.enums[ed] = t
	return t
}

// compile fills the program from its descriptor.
func (p *program) compile() {
	md := p.md
	if md.IsPlaceholder() {
		p.err = fmt.Errorf("message type %q is not in the schema", md.FullName())
		return
	}
	if m, ok := md.(interface{ IsMessageSet() bool }); ok && m.IsMessageSet() {
		p.err = fmt.Errorf("message type %q uses proto1's MessageSet, which has no JSON form", md.FullName())
		return
	}
	fds := md.Fields()
	shown := p.compiler.shown(fds)
	p.fields = make([]field, len(shown))
	p.ranges = md.ExtensionRanges().Len() > 0
	p.wide = fds.Len() > 64
	oneofs := make(map[protoreflect.OneofDescriptor]int32)
	var names []string
	var values []int32
	seen := make(map[string]bool, 2*fds.Len())
	addName := func(name string) {
		fd := fds.ByJSONName(name)
		if fd == nil {
			fd = fds.ByTextName(name)
		}
		if fd == nil || seen[name] || name == "" {
			return
		}
		if i, ok := indexOf(shown, fd); ok {
			seen[name] = true
			names = append(names, name)
			values = append(values, i)
		}
	}
	last := int32(0)
	for i := range p.fields {
		fd := shown[i]
		f := &p.fields[i]
		p.compiler.compileField(f, fd)
		f.index = int32(i)
		if i > 0 {
			p.fields[i-1].next = f
		}
		if !p.wide {
			f.bit = 1 << uint(i)
		}
		if od := fd.ContainingOneof(); od != nil && od.Fields().Len() > 1 {
			at, ok := oneofs[od]
			if !ok {
				at = int32(len(oneofs))
				oneofs[od] = at
			}
			f.oneof = at
		}
		f.counted = f.required || f.oneof >= 0
		if f.counted {
			f.way = wayOther
		}
		if f.required {
			p.required++
		}
		if f.num < last {
			p.indexed.Store(true)
		}
		last = max(last, f.num)
		addName(fd.JSONName())
		addName(fd.TextName())
		addName(string(fd.Name()))
	}
	p.oneofs = len(oneofs)
	p.names = newNameTable(names, values)
	p.number()
	p.wkt, p.err = wellKnownOf(p)
}

// number fills the tables that find a field by its number. The dense table has a slot for each
// number below a limit, which is 16 plus 4 for each field. Larger numbers are in a map.
func (p *program) number() {
	limit := int32(4*len(p.fields) + 16)
	size := int32(0)
	for i := range p.fields {
		if n := p.fields[i].num; n < limit {
			size = max(size, n+1)
		}
	}
	p.dense = make([]uint16, size)
	for i := range p.fields {
		f := &p.fields[i]
		if f.num < size && i < 1<<16-1 {
			p.dense[f.num] = uint16(i + 1)
			continue
		}
		if p.sparse == nil {
			p.sparse = make(map[int32]*field)
		}
		p.sparse[f.num] = f
	}
}

// kinds maps the kinds of descriptors to the kinds of this package and the wire type of one value.
var kinds = [...]struct {
	kind kind
	wire uint8
}{
	protoreflect.BoolKind:     {kindBool, wireVarint},
	protoreflect.EnumKind:     {kindEnum, wireVarint},
	protoreflect.Int32Kind:    {kindInt32, wireVarint},
	protoreflect.Sint32Kind:   {kindSint32, wireVarint},
	protoreflect.Uint32Kind:   {kindUint32, wireVarint},
	protoreflect.Int64Kind:    {kindInt64, wireVarint},
	protoreflect.Sint64Kind:   {kindSint64, wireVarint},
	protoreflect.Uint64Kind:   {kindUint64, wireVarint},
	protoreflect.Sfixed32Kind: {kindSfixed32, wireFixed32},
	protoreflect.Fixed32Kind:  {kindFixed32, wireFixed32},
	protoreflect.FloatKind:    {kindFloat, wireFixed32},
	protoreflect.Sfixed64Kind: {kindSfixed64, wireFixed64},
	protoreflect.Fixed64Kind:  {kindFixed64, wireFixed64},
	protoreflect.DoubleKind:   {kindDouble, wireFixed64},
	protoreflect.StringKind:   {kindString, wireBytes},
	protoreflect.BytesKind:    {kindBytes, wireBytes},
	protoreflect.MessageKind:  {kindMessage, wireBytes},
	protoreflect.GroupKind:    {kindGroup, wireStartGroup},
}

const nullValueName = "google.protobuf.NullValue"

// compileField fills a field from its descriptor. The caller sets the index and the oneof.
func (c *Compiler) compileField(f *field, fd protoreflect.FieldDescriptor) {
	k := kinds[fd.Kind()]
	f.fd = fd
	f.kind, f.wire = k.kind, k.wire
	f.num = int32(fd.Number())
	f.tag = uint32(f.num)<<3 | uint32(f.wire)
	f.oneof = -1
	f.required = fd.Cardinality() == protoreflect.Required
	f.utf8 = f.kind == kindString && enforcesUTF8(fd)
	switch f.wire {
	case wireFixed32:
		f.fixed = 4
	case wireFixed64:
		f.fixed = 8
	}
	if ed := fd.Enum(); ed != nil {
		f.enum = c.enum(ed)
		if ed.FullName() == nullValueName {
			f.kind = kindNull
			f.keepNull = true
		}
	}
	switch md := fd.Message(); {
	case md == nil:
	case fd.IsMap():
		f.mapKey, f.mapValue = new(field), new(field)
		c.compileField(f.mapKey, fd.MapKey())
		c.compileField(f.mapValue, fd.MapValue())
		f.mapKey.implicit, f.mapValue.implicit = false, false
	default:
		f.msg = c.program(md)
		f.keepNull = md.FullName() == "google.protobuf.Value"
	}
	switch {
	case fd.IsMap():
		f.shape = shapeMap
	case fd.IsList():
		f.shape = shapeList
		f.packable = f.wire != wireBytes && f.wire != wireStartGroup
		if fd.IsPacked() {
			f.pack = uint32(f.num)<<3 | wireBytes
		}
	default:
		f.implicit = !fd.HasPresence()
	}
	f.byte1 = f.tag
	if f.tag >= 0x80 {
		f.byte1 = math.MaxUint32
	}
	switch f.shape {
	case shapeSingular:
		f.form = f.kind
	case shapeList:
		f.form = formList
	default:
		f.form = formMap
	}
	if f.tag < 0x80 || f.pack != 0 {
		f.quick = quickOf(f.kind)
	}
	switch {
	case f.shape == shapeList:
		f.way = wayList
	case f.shape == shapeMap:
	case f.kind == kindMessage:
		f.way = wayMessage
	case f.quick != quickNone:
		f.way = wayQuick
	}
	f.low, f.high = rangeOf(f.kind)
	f.zigzag = f.kind == kindSint32 || f.kind == kindSint64
	c.compileName(f)
}

func quickOf(k kind) quick {
	switch k {
	case kindString:
		return quickString
	case kindDouble:
		return quickDouble
	case kindBool:
		return quickBool
	case kindEnum:
		return quickEnum
	}
	if _, high := rangeOf(k); high > 0 {
		return quickInteger
	}
	return quickNone
}

// rangeOf returns the range of an integer kind, cut at the range of int64. For other kinds both
// ends are 0.
func rangeOf(k kind) (low, high int64) {
	switch k {
	case kindInt32, kindSint32, kindSfixed32:
		return math.MinInt32, math.MaxInt32
	case kindUint32, kindFixed32:
		return 0, math.MaxUint32
	case kindInt64, kindSint64, kindSfixed64:
		return math.MinInt64, math.MaxInt64
	case kindUint64, kindFixed64:
		return 0, math.MaxInt64
	default:
		return 0, 0
	}
}

// compileName prepares the field's name in the forms in which it is written to JSON and compared
// with JSON.
func (c *Compiler) compileName(f *field) {
	f.name = f.fd.JSONName()
	if c.opts.UseProtoNames {
		f.name = f.fd.TextName()
	}
	quoted, ok := appendJSONString(nil, []byte(f.name))
	if !ok {
		quoted, _ = appendJSONString(nil, []byte(f.fd.Name()))
	}
	f.key = string(quoted) + ":"
	if len(f.key) <= len(f.keyWords) {
		f.keySize = uint8(len(f.key))
		copy(f.keyWords[:], f.key)
	}
	var words [16]byte
	n := copy(words[:], f.key)
	f.match = [...]uint64{load64(words[:], 0), load64(words[:], 8)}
	f.mask = [...]uint64{lowBytes(^uint64(0), n), lowBytes(^uint64(0), max(n-8, 0))}
	f.zero = c.zeroText(f)
}

// zeroText returns what EmitDefaults or EmitUnpopulated writes for an absent field. It is empty if
// nothing is written.
func (c *Compiler) zeroText(f *field) string {
	switch {
	case f.fd.ContainingOneof() != nil || f.fd.IsExtension():
		return ""
	case f.fd.HasPresence() && c.opts.EmitUnpopulated:
		return f.key + "null,"
	case f.fd.HasPresence():
		return ""
	}
	switch f.shape {
	case shapeList:
		return f.key + "[],"
	case shapeMap:
		return f.key + "{},"
	}
	return f.key + string(c.zeroValue(f)) + ","
}

// zeroValue returns the JSON form of a scalar's zero.
func (c *Compiler) zeroValue(f *field) []byte {
	if f.kind == kindString || f.kind == kindBytes {
		return []byte(`""`)
	}
	return c.appendScalar(nil, f, 0)
}

func enforcesUTF8(fd protoreflect.FieldDescriptor) bool {
	if fd.Syntax() == protoreflect.Editions {
		if fd, ok := fd.(interface{ EnforceUTF8() bool }); ok {
			return fd.EnforceUTF8()
		}
	}
	return fd.Syntax() == protoreflect.Proto3
}
