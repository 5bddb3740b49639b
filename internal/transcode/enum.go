package transcode

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// EnumCase says in which case the names of enum values are read and written in JSON.
type EnumCase uint8

// The choices for Options.EnumCase.
const (
	EnumCaseExact EnumCase = iota // read and written as declared
	EnumCaseAny                   // read in any case
	EnumCaseLower                 // read in any case, written in lower case
)

// An enumTable holds the values of an enum.
type enumTable struct {
	// names finds the number of a name.
	names nameTable
	// folded finds the number of a name in capitals. It is empty if case matters.
	folded nameTable
	// texts is the JSON of the numbers from low on. It is empty for a number without a value.
	texts []string
	// words is the same as texts, for values that are short.
	words []enumWords
	low   int32
	// sparse is the JSON of the numbers that are not in the range of texts.
	sparse map[int32]string
}

// enumWords is the JSON of an enum value in an array that is copied as a whole. size is 0 if the
// JSON does not fit.
type enumWords struct {
	size uint8
	text [31]byte
}

// text returns the JSON of an enum number: its quoted name, or nothing for a number without a name.
func (t *enumTable) text(n int32) string {
	if i := int64(n) - int64(t.low); i >= 0 && i < int64(len(t.texts)) {
		return t.texts[i]
	}
	return t.sparse[n]
}

// number returns the number that a name is read as, and whether there is one.
func (t *enumTable) number(name []byte) (int32, bool) {
	if n, ok := t.names.find(name); ok || len(name) > int(t.folded.longest) {
		return n, ok
	}
	var few [64]byte
	upper := append(few[:0], name...)
	for i, c := range upper {
		if 'a' <= c && c <= 'z' {
			upper[i] = c - ('a' - 'A')
		}
	}
	return t.folded.find(upper)
}

// enumNames gathers the names of an enum's values.
type enumNames struct {
	numbers map[string]int32
	clashes map[string]bool // names that would mean several numbers
	order   []string
}

// add notes that a name means a number. It reports false if the name also means another number.
func (s *enumNames) add(name string, number int32) bool {
	if s.numbers == nil {
		s.numbers, s.clashes = make(map[string]int32), make(map[string]bool)
	}
	other, ok := s.numbers[name]
	if !ok {
		s.numbers[name] = number
		s.order = append(s.order, name)
	} else if other != number {
		s.clashes[name] = true
	}
	return !s.clashes[name]
}

// table makes a table of the names that mean exactly one number.
func (s *enumNames) table() nameTable {
	var names []string
	var numbers []int32
	for _, name := range s.order {
		if !s.clashes[name] {
			names, numbers = append(names, name), append(numbers, s.numbers[name])
		}
	}
	return newNameTable(names, numbers)
}

// withoutPrefix returns the name of a value without the name of its type: PENDING for
// ORDER_STATUS_PENDING of OrderStatus. Case and underscores do not matter, and what remains must be
// a name. protoc compares them in the same way.
func withoutPrefix(name, typeName string) string {
	at := 0
	for _, c := range []byte(typeName) {
		if c == '_' {
			continue
		}
		for at < len(name) && name[at] == '_' {
			at++
		}
		if at == len(name) || name[at]|0x20 != c|0x20 {
			return name
		}
		at++
	}
	short := strings.TrimLeft(name[at:], "_")
	if len(short) == len(name)-at || short == "" || '0' <= short[0] && short[0] <= '9' {
		return name
	}
	return short
}

// compileEnum makes the table of an enum type. If values share a number, the first one gives the
// name.
func compileEnum(ed protoreflect.EnumDescriptor, opts Options) *enumTable {
	vds := ed.Values()
	var exact, folded enumNames
	var numbers []int32
	var names []string
	low, high := int64(0), int64(0)
	for i := range vds.Len() {
		vd := vds.Get(i)
		if vds.ByName(vd.Name()) != vd { // a duplicate, which only an unchecked schema has
			continue
		}
		name, n := string(vd.Name()), vd.Number()
		names, numbers = append(names, name), append(numbers, int32(n))
		exact.add(name, int32(n))
		if n := int64(n); n >= -16 && n <= int64(4*vds.Len()+16) {
			low, high = min(low, n), max(high, n)
		}
	}
	short := shortNames(&exact, names, numbers, string(ed.Name()), opts)
	if opts.EnumCase != EnumCaseExact {
		for _, name := range exact.order {
			if !exact.clashes[name] {
				folded.add(strings.ToUpper(name), exact.numbers[name])
			}
		}
	}
	t := &enumTable{names: exact.table(), folded: folded.table(), low: int32(low), texts: make([]string, high-low+1)}
	for i, n := range numbers {
		name := short[i]
		if opts.EnumCase == EnumCaseLower && !folded.clashes[strings.ToUpper(name)] {
			name = strings.ToLower(name)
		}
		t.setText(n, `"`+name+`"`)
	}
	t.words = make([]enumWords, len(t.texts))
	for i, text := range t.texts {
		if len(text) <= len(t.words[i].text) {
			t.words[i].size = uint8(len(text))
			copy(t.words[i].text[:], text)
		}
	}
	return t
}

// shortNames returns the names that are written, and adds them to the names that are read. With
// OmitEnumPrefix they are without prefix. A short name that would also mean another value is not
// used.
func shortNames(exact *enumNames, names []string, numbers []int32, typeName string, opts Options) []string {
	if !opts.OmitEnumPrefix {
		return names
	}
	full := make(map[string]int32, len(names))
	for i, name := range names {
		full[name] = numbers[i]
	}
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = withoutPrefix(name, typeName)
		if n, ok := full[short[i]]; ok && n != numbers[i] {
			short[i] = name
		}
		exact.add(short[i], numbers[i])
	}
	for i := range short {
		if exact.clashes[short[i]] {
			short[i] = names[i]
		}
	}
	return short
}

// setText sets the JSON of a number, if it has none yet.
func (t *enumTable) setText(n int32, text string) {
	if at := int64(n) - int64(t.low); at >= 0 && at < int64(len(t.texts)) {
		if t.texts[at] == "" {
			t.texts[at] = text
		}
		return
	}
	if t.sparse == nil {
		t.sparse = make(map[int32]string)
	}
	if _, ok := t.sparse[n]; !ok {
		t.sparse[n] = text
	}
}

// EnumNames returns the names under which the values of an enum are written, each once, in the
// order of their declaration. It is for descriptions of the JSON form. EnumsAsNumbers does not
// matter.
func EnumNames(ed protoreflect.EnumDescriptor, opts Options) []string {
	t := compileEnum(ed, opts)
	var names []string
	for i := range ed.Values().Len() {
		name := strings.Trim(t.text(int32(ed.Values().Get(i).Number())), `"`)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
