package transcode_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// knownType returns the JSON form of a message that has a form of its own.
func (g *jsonGen) knownType(md protoreflect.MessageDescriptor, depth int) (string, bool) {
	if md.FullName().Parent() != "google.protobuf" {
		return "", false
	}
	switch md.Name() {
	case "Timestamp":
		return g.str(g.timestampText()), true
	case "Duration":
		return g.str(g.durationText()), true
	case "FieldMask":
		return g.str(g.maskText()), true
	case "Struct":
		var members []string
		for range g.few() {
			members = append(members, g.str(g.text())+g.colon()+g.anyValue(depth+1))
		}
		return g.object(members), true
	case "Value":
		return g.anyValue(depth), true
	case "ListValue":
		var values []string
		for range g.few() {
			values = append(values, g.anyValue(depth+1))
		}
		return g.enclose("[", values, "]"), true
	case "Any":
		return g.any(depth), true
	case "BoolValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue", "StringValue", "BytesValue":
		return g.single(md.Fields().ByNumber(1), depth), true
	default:
		return "", false
	}
}

func (g *jsonGen) timestampText() string {
	if g.wild && g.oneIn(4) {
		return pick(g.tape, "", "2006-01-02", "2006-01-02T15:04:05", "2006-01-02t15:04:05z", "2006-01-02 15:04:05Z", "2006-13-02T15:04:05Z", "2006-02-29T15:04:05Z", "2004-02-29T15:04:05Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
			"2006-01-02T24:00:00Z", "2006-01-02T15:60:00Z", "2006-01-02T15:04:60Z", "2006-01-02T15:04:05.Z", "2006-01-02T15:04:05,5Z", "2006-01-02T15:04:05.1234567890Z", "2006-01-02T15:04:05.123456789Z",
			"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "0001-01-01T00:00:00-23:59",
			"2006-01-02T15:04:05+07:00", "2006-01-02T15:04:05-00:00", "2006-01-02T15:04:05+24:00", "2006-01-02T15:04:05+23:60", "2006-01-02T15:04:05+0700", "2006-01-02T15:04:05+7", "2006-01-02T15:04:05UTC", "2006-1-2T15:04:05Z", " 2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z ",
			"-001-01-01T00:00:00Z", "+006-01-02T15:04:05Z", "2006-01-02T1:04:05Z", "2006-00-02T15:04:05Z", "2006-01-00T15:04:05Z", "2006-01-32T15:04:05Z", "2006-04-31T15:04:05Z", "2006-01-02T15:04:05.0000000001Z", "2006-01-02T15:04:05.000000000Z", "2006-01-02T15:04:05z", "2006-01-02T-1:04:05Z")
	}
	seconds, nanos := g.timestamp()
	at := time.Unix(seconds, nanos).UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		at = time.Unix(seconds%1e9, nanos).UTC()
	}
	if g.oneIn(4) {
		at = at.In(time.FixedZone("", (g.n(28*4)-14*4)*900))
	}
	return at.Format(pick(g.tape, time.RFC3339Nano, time.RFC3339Nano, time.RFC3339, "2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.000000000Z07:00", "2006-01-02T15:04:05.0Z07:00"))
}

func (g *jsonGen) durationText() string {
	if g.wild && g.oneIn(4) {
		return pick(g.tape, "", "s", "1", "1.s", ".5s", "-.5s", "+1s", "-s", "--1s", "1s ", " 1s", "1S", "1ms", "1.1234567890s", "01s", "-01s", "00.5s", "1e3s", "315576000000s", "315576000001s", "-315576000001s", "315576000000.000000001s", "-315576000000.999999999s", "-0s", "-0.0s", "-0.5s", "0.s", ".s", "1.2.3s", "99999999999999999999s", "1 s", "1.0s", "1.000000001s", "-0.000000001s", "+0.5s", "1,5s", "1m", "9223372036854775807s", "9223372036854775808s", "-315576000000.5s")
	}
	seconds, nanos := g.duration()
	if seconds > 315576000000 || seconds < -315576000000 {
		seconds = 3
	}
	if nanos < 0 {
		nanos = -nanos
	}
	text := strconv.FormatInt(seconds, 10)
	if nanos %= 1e9; nanos != 0 {
		text += "." + strings.TrimRight(fmt.Sprintf("%09d", nanos), pick(g.tape, "0", ""))
	}
	if seconds == 0 && g.oneIn(3) {
		text = "-" + text
	}
	return text + "s"
}

func (g *jsonGen) maskText() string {
	var paths []string
	for range g.few() {
		path := pick(g.tape, "a", "fooBar", "foo.barBaz", "aB.cD", "a1", "foo1Bar", "fooBar.b2")
		if g.wild && g.oneIn(3) {
			path = pick(g.tape, g.maskPath(), "Foo", "foo_bar", "fooBAR", "", " a", "a b", "1a", "foo._", "a-b", "éA")
		}
		paths = append(paths, path)
	}
	return strings.Join(paths, pick(g.tape, ",", ",", ",", ", ", ",,"))
}

// any returns the JSON form of an Any, with "@type" in any place.
func (g *jsonGen) any(depth int) string {
	if depth > 5 || g.oneIn(12) {
		return g.enclose("{", nil, "}")
	}
	md := g.schema.roots[g.n(len(g.schema.roots))]
	url := "type.googleapis.com/" + string(md.FullName())
	if g.wild && g.oneIn(8) {
		url = pick(g.tape, "", "/", "type.googleapis.com/", "type.googleapis.com/no.such.Type", string(md.FullName()), "http://x/y/"+string(md.FullName()), "/"+string(md.FullName()))
	}
	members := []string{g.str("@type") + g.colon() + g.str(url)}
	if text, ok := g.knownType(md, depth+1); ok || md.FullName() == "google.protobuf.Empty" && g.oneIn(2) {
		if !ok {
			text = "{}"
		}
		if !g.wild || !g.oneIn(8) {
			members = append(members, g.str("value")+g.colon()+text)
		}
		if g.wild && g.oneIn(8) {
			members = append(members, g.str(pick(g.tape, "value", "other", "@type"))+g.colon()+g.anyValue(depth))
		}
	} else {
		members = append(members, g.members(md, depth+1)...)
	}
	// @type does not have to come first.
	if at := g.n(len(members)); g.oneIn(2) {
		members[0], members[at] = members[at], members[0]
	}
	if g.wild && g.oneIn(12) {
		members = append(members, g.str("@type")+g.colon()+pick(g.tape, g.str(url), "1", "null"))
	}
	return g.object(members)
}
