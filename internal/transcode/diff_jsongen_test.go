package transcode_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A jsonGen writes random messages as JSON, in all spellings that are accepted. If it is wild, it
// also uses spellings that are not accepted.
type jsonGen struct {
	*tape
	schema *schema
	wild   bool
	budget int
}

func genJSON(t *tape, s *schema, md protoreflect.MessageDescriptor, wild bool) []byte {
	g := &jsonGen{tape: t, schema: s, wild: wild, budget: 60}
	text := []byte(g.message(md, 0))
	if wild && g.oneIn(4) {
		text = g.damage(text)
	}
	return text
}

// message returns the JSON form of a message.
func (g *jsonGen) message(md protoreflect.MessageDescriptor, depth int) string {
	if text, ok := g.knownType(md, depth); ok {
		return text
	}
	return g.object(g.members(md, depth))
}

// members returns the members of a message that is a JSON object.
func (g *jsonGen) members(md protoreflect.MessageDescriptor, depth int) []string {
	var members []string
	fields := md.Fields()
	n := g.few()
	if depth == 0 {
		n += g.n(6)
	}
	if depth > 5 {
		n = 0
	}
	if g.oneIn(2) && fields.Len() > 0 {
		start := g.n(fields.Len())
		for i := start; i < fields.Len() && n > 0; i += 1 + g.n(3) {
			members = append(members, g.member(fields.Get(i), depth))
			n--
		}
	} else {
		for range n {
			switch {
			case g.wild && g.oneIn(16):
				members = append(members, g.str(pick(g.tape, "unknown", "", "@type", "[no.such.ext]", "[", "[]", "value", g.text()))+g.colon()+g.anyValue(depth))
			case g.oneIn(5):
				if m := g.extension(md, depth); m != "" {
					members = append(members, m)
				}
			case fields.Len() > 0:
				members = append(members, g.member(fields.Get(g.n(fields.Len())), depth))
			}
		}
	}
	if g.wild && g.oneIn(12) && fields.Len() > 0 {
		// A field twice, or two members of a oneof.
		fd := fields.Get(g.n(fields.Len()))
		members = append(members, g.member(fd, depth))
		if oneof := fd.ContainingOneof(); oneof != nil {
			fd = oneof.Fields().Get(g.n(oneof.Fields().Len()))
		}
		members = append(members, g.member(fd, depth))
	}
	if !g.oneIn(12) {
		required := md.RequiredNumbers()
		for i := range required.Len() {
			if fd := fields.ByNumber(required.Get(i)); fd.Message() == nil || depth < 3 {
				members = append(members, g.member(fd, depth))
			}
		}
		if !g.oneIn(4) {
			members = dedupe(members)
		}
	}
	return members
}

// dedupe keeps the first member with each key, compared as it is spelled. Without it required
// fields would mostly come twice.
func dedupe(members []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(members, func(m string) bool {
		key, _, _ := strings.Cut(m, ":")
		key = strings.TrimSpace(key)
		if seen[key] {
			return true
		}
		seen[key] = true
		return false
	})
}

func (g *jsonGen) object(members []string) string {
	if g.wild && g.oneIn(30) {
		return g.anyValue(6)
	}
	return g.enclose("{", members, "}")
}

// enclose joins values with commas, which are sometimes wrong.
func (g *jsonGen) enclose(open string, values []string, end string) string {
	var b strings.Builder
	b.WriteString(g.space() + open + g.space())
	for i, v := range values {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(v)
	}
	if g.wild && g.oneIn(60) {
		b.WriteString(",")
	}
	b.WriteString(g.space() + end + g.space())
	return b.String()
}

func (g *jsonGen) space() string {
	if !g.oneIn(8) {
		return ""
	}
	if g.wild && g.oneIn(20) {
		return pick(g.tape, "\v", "\f", "\u00a0", "//c\n", "\x00", "\ufeff")
	}
	return pick(g.tape, " ", "\n", "\t", "\r\n", "   \n\t  ", "          ")
}

func (g *jsonGen) colon() string { return g.space() + ":" + g.space() }

// member returns the key and the value of a field.
func (g *jsonGen) member(fd protoreflect.FieldDescriptor, depth int) string {
	name := fd.JSONName()
	if g.oneIn(4) {
		name = fd.TextName()
	}
	if g.wild && g.oneIn(40) {
		name = pick(g.tape, strings.ToUpper(name), name+" ", name+"x", name[:len(name)-1], string(fd.Name()))
	}
	return g.str(name) + g.colon() + g.field(fd, depth)
}

func (g *jsonGen) extension(md protoreflect.MessageDescriptor, depth int) string {
	name := pick(g.tape, judgedExtensions...)
	xt, err := g.schema.types.FindExtensionByName(name)
	if err != nil || !g.wild && xt.TypeDescriptor().ContainingMessage().FullName() != md.FullName() {
		return ""
	}
	return g.str("["+string(name)+"]") + g.colon() + g.field(xt.TypeDescriptor(), depth)
}

// field returns the value of a field, all elements of it.
func (g *jsonGen) field(fd protoreflect.FieldDescriptor, depth int) string {
	if g.budget--; g.budget < 0 || g.oneIn(25) {
		return "null"
	}
	if g.wild && g.oneIn(30) {
		return g.anyValue(depth)
	}
	switch {
	case fd.IsMap():
		var members []string
		for range g.few() {
			members = append(members, g.mapKey(fd.MapKey())+g.colon()+g.single(fd.MapValue(), depth+1))
		}
		return g.object(members)
	case fd.IsList():
		var values []string
		n := g.few()
		if g.oneIn(10) && fd.Message() == nil {
			n += g.n(20)
		}
		for range n {
			values = append(values, g.single(fd, depth))
		}
		return g.enclose("[", values, "]")
	default:
		return g.single(fd, depth)
	}
}

func (g *jsonGen) mapKey(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return g.str(g.text())
	case protoreflect.BoolKind:
		if g.wild && g.oneIn(6) {
			return g.str(pick(g.tape, "", "1", "True", " true", "t", "false "))
		}
		return g.str(pick(g.tape, "true", "false"))
	default:
		text := g.integer(fd.Kind())
		if g.wild && g.oneIn(20) {
			return text
		}
		return g.str(strings.Trim(text, `"`))
	}
}

// single returns one element.
func (g *jsonGen) single(fd protoreflect.FieldDescriptor, depth int) string {
	if g.wild && g.oneIn(40) {
		return g.anyValue(depth)
	}
	if fd.Message() != nil {
		return g.message(fd.Message(), depth+1)
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if g.wild && g.oneIn(10) {
			return pick(g.tape, `"true"`, `"false"`, "0", "1", "True", "tru", "truee", "falsey", `""`)
		}
		return pick(g.tape, "true", "false")
	case protoreflect.StringKind:
		return g.str(g.text())
	case protoreflect.BytesKind:
		return g.bytes()
	case protoreflect.EnumKind:
		return g.enum(fd.Enum())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return g.floating(fd.Kind())
	default:
		return g.integer(fd.Kind())
	}
}

func (g *jsonGen) enum(ed protoreflect.EnumDescriptor) string {
	value := ed.Values().Get(g.n(ed.Values().Len()))
	switch {
	case ed.FullName() == "google.protobuf.NullValue" && !g.oneIn(3):
		return "null"
	case g.oneIn(3):
		return g.spell(int64(value.Number()))
	case g.oneIn(8):
		return strconv.FormatInt(g.int64(), 10)
	case g.wild && g.oneIn(8):
		return g.oddNumber()
	case g.wild && g.oneIn(6):
		return g.str(pick(g.tape, "", "NO_SUCH_VALUE", strings.ToLower(string(value.Name())), string(value.Name())+"X", "0", "1"))
	default:
		return g.str(string(value.Name()))
	}
}

func (g *jsonGen) integer(kind protoreflect.Kind) string {
	v := g.int64()
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		if !g.wild || !g.oneIn(8) {
			v = int64(int32(v))
		}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		if !g.wild || !g.oneIn(8) {
			v = int64(uint32(v))
		}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if g.oneIn(4) {
			return pick(g.tape, strconv.FormatUint(uint64(v), 10), `"`+strconv.FormatUint(uint64(v), 10)+`"`, "18446744073709551615", `"18446744073709551615"`)
		}
		if v < 0 && (!g.wild || !g.oneIn(8)) {
			v &= math.MaxInt64
		}
	}
	if g.wild && g.oneIn(10) {
		return g.oddNumber()
	}
	return g.spell(v)
}

// spell writes a whole number in one of the forms that ProtoJSON accepts.
func (g *jsonGen) spell(v int64) string {
	text := strconv.FormatInt(v, 10)
	switch g.n(9) {
	case 0:
		text += ".0"
	case 1:
		text += pick(g.tape, "e0", "E0", "e+0", "e-0", ".00e0")
	case 2:
		// Move the point to the left, and add an exponent.
		sign, digits := "", text
		if v < 0 {
			sign, digits = "-", text[1:]
		}
		if len(digits) > 1 {
			at := 1 + g.n(len(digits)-1)
			text = fmt.Sprintf("%s%s.%se%d", sign, digits[:at], digits[at:], len(digits)-at)
		}
	case 3:
		text += strings.Repeat("0", 1+g.n(3))
		text += fmt.Sprintf("e-%d", len(text)-len(strings.TrimRight(text, "0")))
		if v == 0 {
			text = "0.000e5"
		}
	}
	if g.oneIn(3) {
		return `"` + text + `"`
	}
	return text
}

func (g *jsonGen) oddNumber() string {
	text := pick(g.tape, "", "-", "+1", "01", "-01", "00", "1.", ".5", "1e", "1e+", "1E-", "0e", "0e-", "0e+", "-0e-", "0x10", "1_000", "Infinity", "NaN", "-Infinity", "1.5", "1e-1", "0.1e1", "10e-1",
		"1e2147483648", "1e-2147483648", "0e99999999999", "0.0e-99999999999", "1e400", "-1e400", "1e-400", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
		"1e19", "1.8446744073709551615e19", "4294967296", "-2147483649", "2147483648", "-0", "-0.0", "-0e0", "0.5", "1 ", " 1", "1\\u0030", "--1", "1-", "1.0.0", "1e1.0", "1e5e5", "nan", "inf", "Inf", "1f", "1n",
		"340282346638528859811704183484516925440", "340282356779733661637539395458142568447", "340282356779733661637539395458142568448", "3.4028235677973366e38", "-3.5e38", "1e39", "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880",
		"0.00000000000000000000000000000000000000000000000000000000000000000000000001", "123456789012345678901234567890", "1000000000000000000000000000000e-30", "0.1000000000000000055511151231257827021181583404541015625", "1.00000000000000000000000000000000000000000000000000001")
	if g.oneIn(2) {
		return `"` + text + `"`
	}
	return text
}

func (g *jsonGen) floating(kind protoreflect.Kind) string {
	if g.wild && g.oneIn(5) {
		return g.oddNumber()
	}
	v := g.float()
	switch {
	case math.IsNaN(v):
		return `"NaN"`
	case math.IsInf(v, 1):
		return `"Infinity"`
	case math.IsInf(v, -1):
		return `"-Infinity"`
	}
	bits := 64
	if kind == protoreflect.FloatKind && !g.oneIn(4) {
		bits = 32
		if v = float64(float32(v)); math.IsInf(v, 0) {
			v = 0.5
		}
	}
	text := strconv.FormatFloat(v, byte(pick(g.tape, 'g', 'e', 'E', 'f')), pick(g.tape, -1, -1, -1, 3, 17, 40), bits)
	if g.oneIn(4) {
		return `"` + text + `"`
	}
	return text
}

func (g *jsonGen) bytes() string {
	data := []byte(pick(g.tape, g.text(), g.badText(), "\xff\xfe\xfd", "\xfb\xff\xfe?>"))
	enc := pick(g.tape, base64.StdEncoding, base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding)
	text := enc.EncodeToString(data)
	if g.wild && g.oneIn(6) {
		at := g.n(len(text) + 1)
		text = text[:at] + pick(g.tape, "=", "==", "===", "\n", "\r\n", " ", "-", "_", "+", "/", "*", "A", "é", "\x00") + text[at:]
	}
	return g.str(text)
}

// str quotes a string. Some of its escapes are not necessary.
func (g *jsonGen) str(s string) string {
	style := g.n(6)
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(pick(g.tape, "\\"+string(r), fmt.Sprintf("\\u%04x", r)))
		case r < 0x20:
			switch short := strings.IndexRune("\b\t\n\f\r", r); {
			case g.wild && g.oneIn(20):
				b.WriteRune(r)
			case short >= 0 && style%2 == 0:
				b.WriteString([]string{"\\b", "\\t", "\\n", "\\f", "\\r"}[short])
			default:
				fmt.Fprintf(&b, "\\u%04X", r)
			}
		case style == 4 && g.oneIn(4) || style == 5:
			b.WriteString(g.escape(r))
		default:
			b.WriteRune(r)
		}
	}
	if g.wild && g.oneIn(60) {
		b.WriteString(pick(g.tape, "\\", "\\x41", "\\u12", "\\u12g4", "\\ud800", "\\udc00", "\\ud83dx", "\\ud83d\\n", "\\ud83d\\ud83d", "\\ude00\\ud83d", "\\ud83d\\u0041", "\\'", "\\0", "\\U0041", "\xff", "\xed\xa0\x80", "\n", "\x00", "\x7f"))
	}
	b.WriteByte('"')
	if g.wild && g.oneIn(100) {
		return strings.ReplaceAll(b.String(), `"`, "'")
	}
	return b.String()
}

// escape returns a character as an escape sequence.
func (g *jsonGen) escape(r rune) string {
	switch {
	case r == '/' && g.oneIn(2):
		return `\/`
	case r < 0x10000:
		return fmt.Sprintf("\\u%04x", r)
	default:
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf("\\u%04x\\u%04X", high, low)
	}
}

// anyValue returns a JSON value of any kind.
func (g *jsonGen) anyValue(depth int) string {
	kind := g.n(9)
	if depth > 5 {
		kind %= 7
	}
	switch kind {
	case 0:
		return "null"
	case 1:
		return pick(g.tape, "true", "false")
	case 2:
		return g.str(g.text())
	case 3:
		return g.floating(protoreflect.DoubleKind)
	case 4:
		return strconv.FormatInt(g.int64(), 10)
	case 5:
		if g.wild {
			return g.oddNumber()
		}
		return "{}"
	case 6:
		return pick(g.tape, "{}", "[]")
	case 7:
		var values []string
		for range g.few() {
			values = append(values, g.anyValue(depth+1))
		}
		return g.enclose("[", values, "]")
	default:
		var members []string
		for range g.few() {
			members = append(members, g.str(g.text())+g.colon()+g.anyValue(depth+1))
		}
		return g.enclose("{", members, "}")
	}
}

// damage cuts, overwrites, removes, repeats or inserts pieces of the text.
func (g *jsonGen) damage(text []byte) []byte {
	for range 1 + g.n(2) {
		at := g.n(len(text) + 1)
		switch g.n(5) {
		case 0:
			text = text[:at]
		case 1:
			if at < len(text) {
				text[at] = byte(g.n(256))
			}
		case 2:
			if at < len(text) {
				text = append(text[:at:at], text[at+1:]...)
			}
		case 3:
			end := min(len(text), at+g.n(20))
			text = append(text[:end:end], text[at:]...)
		default:
			insert := pick(g.tape, ",", ":", "{", "}", "[", "]", `"`, "\\", "null", "0", "-", ".", "e5", " ", "\n", "\x00", "\xff", "{}", "[]", `"":`, "true", "1", "//", "/**/")
			text = append(text[:at:at], append([]byte(insert), text[at:]...)...)
		}
	}
	return text
}
