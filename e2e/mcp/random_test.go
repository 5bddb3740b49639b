package mcpe2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// deepest is how deep random messages are nested.
const deepest = 4

// random makes JSON of messages, in all spellings that the gateway accepts by the JSON names of
// fields. The same seed makes the same messages.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0))} }

// message makes a message without the fields that are left out.
func (r random) message(md protoreflect.MessageDescriptor, depth int, without ...protoreflect.Name) map[string]any {
	out := make(map[string]any)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if r.IntN(3) > 0 || slices.Contains(without, fd.Name()) {
			continue
		}
		if depth >= deepest && fd.Message() != nil && fd.Message().FullName().Parent() != "google.protobuf" {
			continue
		}
		out[fd.JSONName()] = r.field(fd, depth)
	}
	for i := range md.Oneofs().Len() {
		of, set := md.Oneofs().Get(i), false
		for j := range of.Fields().Len() {
			if name := of.Fields().Get(j).JSONName(); set {
				delete(out, name)
			} else {
				_, set = out[name]
			}
		}
	}
	return out
}

func (r random) field(fd protoreflect.FieldDescriptor, depth int) any {
	switch {
	case fd.IsMap():
		out := make(map[string]any)
		for range r.IntN(4) {
			out[fmt.Sprint(r.value(fd.MapKey(), depth))] = r.value(fd.MapValue(), depth)
		}
		return out
	case fd.IsList():
		out := make([]any, r.IntN(4))
		for i := range out {
			out[i] = r.value(fd, depth)
		}
		return out
	}
	return r.value(fd, depth)
}

func (r random) value(fd protoreflect.FieldDescriptor, depth int) any {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return r.text()
	case protoreflect.BytesKind:
		return r.bytes()
	case protoreflect.BoolKind:
		return r.IntN(2) == 0
	case protoreflect.EnumKind:
		if r.IntN(3) == 0 {
			return r.IntN(10)
		}
		return string(fd.Enum().Values().Get(r.IntN(fd.Enum().Values().Len())).Name())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return r.float()
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return r.wellKnown(fd.Message(), depth)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return r.spell(strconv.Itoa(int(int32(r.Uint32()))))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return r.spell(strconv.FormatUint(uint64(r.Uint32()), 10))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return r.spell(strconv.FormatUint(r.Uint64()>>r.IntN(64), 10))
	default:
		return r.spell(strconv.FormatInt(int64(r.Uint64())>>r.IntN(64), 10))
	}
}

// number is a number of JSON, digit by digit.
type number string

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// spell writes an integer as a number or as a string.
func (r random) spell(digits string) any {
	if r.IntN(2) == 0 {
		return digits
	}
	return number(digits)
}

func (r random) float() any {
	switch r.IntN(6) {
	case 0:
		return "NaN"
	case 1:
		return "Infinity"
	case 2:
		return "-Infinity"
	case 3:
		return strconv.FormatFloat(r.NormFloat64()*1e6, 'g', -1, 32)
	default:
		return r.NormFloat64() * 1e6
	}
}

func (r random) text() string {
	const letters = "ab Z09_-./\"\\\n\u00e9\u4e16\U0001f600"
	runes := []rune(letters)
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteRune(runes[r.IntN(len(runes))])
	}
	return b.String()
}

func (r random) bytes() string {
	raw := make([]byte, r.IntN(9))
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	encodings := []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding}
	return encodings[r.IntN(len(encodings))].EncodeToString(raw)
}

// wellKnown makes a message, which may have a JSON form of its own.
func (r random) wellKnown(md protoreflect.MessageDescriptor, depth int) any {
	switch name := md.FullName(); name {
	case "google.protobuf.Timestamp":
		const century = 100 * 365 * 24 * 3600
		at := time.Unix(r.Int64N(century), r.Int64N(1e9)).In(time.FixedZone("", 60*(r.IntN(1440)-720)))
		return at.Format(time.RFC3339Nano)
	case "google.protobuf.Duration":
		return strconv.FormatFloat(float64(r.Int64N(1e9)-5e8)/1e3, 'f', r.IntN(4), 64) + "s"
	case "google.protobuf.FieldMask":
		return strings.Join([]string{"text", "nested.value", "otherName"}[:r.IntN(4)], ",")
	case "google.protobuf.Struct":
		return map[string]any{r.text(): r.any(depth), "b": r.any(depth)}
	case "google.protobuf.Value":
		return r.any(depth)
	case "google.protobuf.ListValue":
		return []any{r.any(depth)}
	default:
		if name.Parent() == "google.protobuf" && md.Fields().Len() == 1 && md.Fields().ByName("value") != nil {
			return r.value(md.Fields().ByName("value"), depth)
		}
		return r.message(md, depth+1)
	}
}

func (r random) any(depth int) any {
	switch n := r.IntN(7); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(2) == 0
	case n == 2:
		return r.NormFloat64()
	case n == 3 && depth < deepest:
		return []any{r.any(depth + 1), r.any(depth + 1)}
	case n == 4 && depth < deepest:
		return map[string]any{"x": r.any(depth + 1)}
	default:
		return r.text()
	}
}

// spoil makes a message wrong in one field, and says how. "" means that it could not.
func (r random) spoil(md protoreflect.MessageDescriptor, message map[string]any, without ...protoreflect.Name) (how string) {
	fd := md.Fields().Get(r.IntN(md.Fields().Len()))
	name := fd.JSONName()
	var wrong any
	switch {
	case slices.Contains(without, fd.Name()) || r.IntN(10) == 0:
		name, wrong = "nothing"+name, 1
	case fd.IsMap():
		wrong = []any{}
	case fd.IsList():
		wrong = map[string]any{}
	default:
		wrong = r.wrong(fd)
	}
	if wrong == nil {
		return ""
	}
	if of := fd.ContainingOneof(); of != nil {
		for i := range of.Fields().Len() {
			delete(message, of.Fields().Get(i).JSONName())
		}
	}
	message[name] = wrong
	return fmt.Sprintf("%s: %v", name, wrong)
}

// wrong is a value that a field must not have. Nil: any value will do.
func (r random) wrong(fd protoreflect.FieldDescriptor) any {
	pick := func(values ...any) any { return values[r.IntN(len(values))] }
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return pick(7, true, []any{"a"}, map[string]any{})
	case protoreflect.BoolKind:
		return pick("true", 1, []any{})
	case protoreflect.EnumKind:
		return pick("NO_SUCH_VALUE", true, 1.5)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return pick("many", true, []any{})
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch fd.Message().FullName() {
		case "google.protobuf.Value":
			return nil
		case "google.protobuf.Timestamp":
			return pick("yesterday", 1, "2026-13-01T00:00:00Z")
		case "google.protobuf.Duration":
			return pick("5 minutes", 5, "5")
		case "google.protobuf.FieldMask":
			return pick(1, []any{"a"})
		case "google.protobuf.StringValue":
			return pick(1, map[string]any{"value": "a"})
		case "google.protobuf.Int64Value":
			return pick("abc", true, 1.5)
		default:
			return pick("text", 1, []any{})
		}
	default:
		return pick("abc", true, 1.5, []any{})
	}
}
