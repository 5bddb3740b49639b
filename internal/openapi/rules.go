package openapi

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Rules of protovalidate. They are read from the schema, and nothing here checks a message by them.
const (
	fieldRules   = protoreflect.FullName("buf.validate.field")
	oneofRules   = protoreflect.FullName("buf.validate.oneof")
	messageRules = protoreflect.FullName("buf.validate.message")

	ignoreAlways = "IGNORE_ALWAYS"
)

// rulesOf returns the rules of a field, or nothing if they are switched off.
func (s *Schemas) rulesOf(fd protoreflect.FieldDescriptor) option {
	return checked(s.option(fd, fieldRules))
}

// checked returns rules, or nothing if they are switched off.
func checked(rules option) option {
	if rules.choice("ignore") == ignoreAlways {
		return nil
	}
	return rules
}

// constrain adds what a request must fulfil: the rules of protovalidate, and the demands in the
// options of openapiv2 and gnostic. Answers have none, because nobody checks them.
func (s *Schemas) constrain(o *object, fd protoreflect.FieldDescriptor) {
	demands(o, s.fieldWords(fd))
	rules := s.rulesOf(fd)
	if len(rules) == 0 {
		return
	}
	c := newObject()
	switch {
	case fd.IsMap():
		r := rules.at("map")
		c.add("minProperties", r.number("min_pairs")).add("maxProperties", r.number("max_pairs"))
		constrainPart(o, "additionalProperties", r.at("values"), fd.MapValue())
		constrainPart(o, "propertyNames", r.at("keys"), fd.MapKey())
	case fd.IsList():
		r := rules.at("repeated")
		c.add("minItems", r.number("min_items")).add("maxItems", r.number("max_items"))
		if r.flag("unique") {
			c.set("uniqueItems", true)
		}
		constrainPart(o, "items", r.at("items"), fd)
	default:
		valueRules(c, rules, fd)
	}
	mayBeZero := strings.HasPrefix(rules.choice("ignore"), "IGNORE_IF_")
	if zero := zeroOf(fd); mayBeZero && zero != nil && len(c.members) > 0 {
		c = newObject("anyOf", list{zero, c})
	}
	merge(o, c)
}

// constrainPart adds rules to the schema of the elements of a field.
func constrainPart(o *object, key string, rules option, fd protoreflect.FieldDescriptor) {
	c := newObject()
	valueRules(c, checked(rules), fd)
	if len(c.members) == 0 {
		return
	}
	if part, ok := o.get(key).(*object); ok {
		merge(part, c)
	} else {
		o.set(key, c)
	}
}

// merge adds keywords to a schema. What the schema says already must hold as well.
func merge(o, more *object) {
	var beside list
	for _, m := range more.members {
		if !o.has(m.key) {
			o.set(m.key, m.value)
			continue
		}
		beside = append(beside, newObject(m.key, m.value))
	}
	if len(beside) > 0 {
		all, _ := o.get("allOf").(list)
		o.set("allOf", slices.Concat(all, beside))
	}
}

// zeroOf is the schema of the default of a field, or nil if a rule cannot refuse it.
func zeroOf(fd protoreflect.FieldDescriptor) *object {
	switch {
	case fd.IsMap():
		return newObject("maxProperties", 0)
	case fd.IsList():
		return newObject("maxItems", 0)
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return newObject().set("const", "")
	case protoreflect.BoolKind, protoreflect.BytesKind, protoreflect.EnumKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return nil
	default:
		return newObject("enum", list{0, "0"})
	}
}

// valueRules adds the rules of a single value. A wrapper has those of the value in it.
func valueRules(c *object, rules option, fd protoreflect.FieldDescriptor) {
	if md := fd.Message(); md != nil {
		if md.FullName().Parent() != "google.protobuf" || !strings.HasSuffix(string(md.Name()), "Value") || md.Fields().Len() != 1 {
			return // A Duration, for example. JSON schema cannot compare those.
		}
		fd = md.Fields().Get(0)
	}
	r := rules.at(fd.Kind().String())
	switch fd.Kind() {
	case protoreflect.StringKind:
		stringRules(c, r)
	case protoreflect.BoolKind:
		c.add("const", r.value("const"))
	case protoreflect.BytesKind, protoreflect.EnumKind, protoreflect.MessageKind, protoreflect.GroupKind:
	default:
		numberRules(c, r)
	}
}

// numberRules are those of all kinds of numbers. Requests may have numbers in quotes, which only
// lists of values can constrain.
func numberRules(c *object, r option) {
	if value := r.value("const"); value != nil {
		c.set("enum", quotedToo(list{value}))
	}
	if values := r.values("in"); len(values) > 0 {
		merge(c, newObject("enum", quotedToo(values)))
	}
	if values := r.values("not_in"); len(values) > 0 {
		c.set("not", newObject("enum", quotedToo(values)))
	}
	low := newObject().add("exclusiveMinimum", r.number("gt")).add("minimum", r.number("gte"))
	high := newObject().add("exclusiveMaximum", r.number("lt")).add("maximum", r.number("lte"))
	if len(low.members) == 1 && len(high.members) == 1 && above(low.members[0].value, high.members[0].value) {
		c.set("anyOf", list{low, high}) // As protovalidate has it: outside of the range.
		return
	}
	merge(c, low)
	merge(c, high)
}

// above reports whether a is more than b. Both have the type of one field.
func above(a, b any) bool {
	switch a := a.(type) {
	case int32:
		return isAbove(a, b)
	case int64:
		return isAbove(a, b)
	case uint32:
		return isAbove(a, b)
	case uint64:
		return isAbove(a, b)
	case float32:
		return isAbove(a, b)
	case float64:
		return isAbove(a, b)
	}
	return false
}

func isAbove[N cmp.Ordered](a N, b any) bool {
	other, same := b.(N)
	return same && a > other
}

func quotedToo(values list) list {
	out := slices.Clone(values)
	for _, value := range values {
		out = append(out, fmt.Sprint(value))
	}
	return out
}

// formats are the rules for well-known forms of text that JSON schema has a format for.
var formats = []struct{ rule, format string }{
	{"email", "email"}, {"hostname", "hostname"}, {"ipv4", "ipv4"}, {"ipv6", "ipv6"}, {"uri", "uri"},
	{"uri_ref", "uri-reference"}, {"uuid", "uuid"},
}

func stringRules(c *object, r option) {
	c.add("const", r.value("const"))
	if values := r.values("in"); len(values) > 0 {
		c.set("enum", values)
	}
	if values := r.values("not_in"); len(values) > 0 {
		c.set("not", newObject("enum", values))
	}
	if length := r.number("len"); length != nil {
		c.set("minLength", length).set("maxLength", length)
	}
	c.add("minLength", r.number("min_len")).add("maxLength", r.number("max_len"))
	for _, pattern := range []string{
		portable(r.text("pattern")),
		around("^", r.text("prefix"), ""), around("", r.text("suffix"), "$"), around("", r.text("contains"), ""),
	} {
		if pattern != "" {
			merge(c, newObject("pattern", pattern))
		}
	}
	for _, known := range formats {
		if r.flag(known.rule) {
			c.set("format", known.format)
		}
	}
	switch {
	case r.flag("ip"):
		c.set("anyOf", list{newObject("format", "ipv4"), newObject("format", "ipv6")})
	case r.flag("tuuid"):
		merge(c, newObject("pattern", "^[0-9a-fA-F]{32}$"))
	}
}

func around(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + regexp.QuoteMeta(text) + after
}

// portable returns a pattern of RE2, or "" if ECMAScript, which JSON schema uses, may read it in
// another way.
func portable(pattern string) string {
	if _, err := regexp.Compile(pattern); err != nil {
		return ""
	}
	for _, class := range []string{"[[:", "[^[:", "[]", "[^]"} {
		if strings.Contains(pattern, class) {
			return ""
		}
	}
	const same = `dDwWsSbBtnrfv^$\.*+?()[]{}|/`
	inClass := false
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '[':
			inClass = true
		case ']':
			inClass = false
		case '(':
			if strings.HasPrefix(pattern[i:], "(?") && !strings.HasPrefix(pattern[i:], "(?:") {
				return ""
			}
		case '\\':
			i++
			if i == len(pattern) || !strings.Contains(same, pattern[i:i+1]) && (!inClass || pattern[i] != '-') {
				return ""
			}
		}
	}
	return pattern
}

// demands adds what the options of openapiv2 and gnostic ask of a value.
func demands(o *object, words option) {
	for _, d := range []struct{ field, keyword string }{
		{"multiple_of", "multipleOf"}, {"max_length", "maxLength"}, {"min_length", "minLength"}, {"max_items", "maxItems"},
		{"min_items", "minItems"}, {"max_properties", "maxProperties"}, {"min_properties", "minProperties"},
	} {
		o.add(d.keyword, words.number(d.field))
	}
	for _, bound := range []string{"maximum", "minimum"} {
		keyword := bound
		if words.flag("exclusive_" + bound) {
			keyword = "exclusive" + strings.ToUpper(bound[:1]) + bound[1:]
		}
		o.add(keyword, words.number(bound))
	}
	if words.flag("unique_items") {
		o.set("uniqueItems", true)
	}
	if pattern := portable(words.text("pattern")); pattern != "" {
		merge(o, newObject("pattern", pattern))
	}
}

// hasRules reports whether requests with this field have to fulfil something that answers need not.
func (s *Schemas) hasRules(fd protoreflect.FieldDescriptor) bool {
	return len(s.rulesOf(fd)) > 0 || len(s.fieldWords(fd)) > 0
}

// fieldNotes are the rules of a field that only words can express.
func (s *Schemas) fieldNotes(fd protoreflect.FieldDescriptor) []string {
	rules := s.rulesOf(fd)
	notes := expressions(rules)
	switch {
	case fd.IsMap():
		notes = append(notes, ofEach("key", wordRules(checked(rules.at("map").at("keys")), fd.MapKey()))...)
		notes = append(notes, ofEach("value", wordRules(checked(rules.at("map").at("values")), fd.MapValue()))...)
	case fd.IsList():
		notes = append(notes, ofEach("element", wordRules(checked(rules.at("repeated").at("items")), fd))...)
	default:
		notes = append(notes, wordRules(rules, fd)...)
	}
	if pattern := rules.at("string").text("pattern"); pattern != "" && portable(pattern) == "" {
		notes = append(notes, "It matches the regular expression (RE2) `"+pattern+"`.")
	}
	return notes
}

// messageNotes are the rules of a message that only words can express.
func (s *Schemas) messageNotes(md protoreflect.MessageDescriptor) []string {
	rules := s.option(md, messageRules)
	if rules.flag("disabled") {
		return nil
	}
	notes := expressions(rules)
	for _, rule := range rules.each("oneof") {
		note := "At most one of these fields is set: "
		if rule.flag("required") {
			note = "Exactly one of these fields is set: "
		}
		notes = append(notes, note+strings.Join(rule.texts("fields"), ", ")+".")
	}
	for i := range md.Oneofs().Len() {
		if one := md.Oneofs().Get(i); s.option(one, oneofRules).flag("required") {
			notes = append(notes, "One of the fields of `"+string(one.Name())+"` is set.")
		}
	}
	return notes
}

// expressions are rules in the language CEL: in the words of their author, or as they are.
func expressions(rules option) []string {
	var notes []string
	for _, rule := range rules.each("cel") {
		if message := rule.text("message"); message != "" {
			notes = append(notes, "Rule: "+message)
		} else if expression := rule.text("expression"); expression != "" {
			notes = append(notes, "Rule: `"+expression+"`")
		}
	}
	return notes
}

// textFormat is the format of a field that is text, as google.api.field_info or the options of
// openapiv2 and gnostic have it.
func (s *Schemas) textFormat(fd protoreflect.FieldDescriptor) *object {
	opts, ok := fd.Options().(*descriptorpb.FieldOptions)
	if ok && proto.HasExtension(opts, annotations.E_FieldInfo) {
		info, _ := proto.GetExtension(opts, annotations.E_FieldInfo).(*annotations.FieldInfo)
		switch info.GetFormat() {
		case annotations.FieldInfo_UUID4:
			return newObject("format", "uuid")
		case annotations.FieldInfo_IPV4:
			return newObject("format", "ipv4")
		case annotations.FieldInfo_IPV6:
			return newObject("format", "ipv6")
		case annotations.FieldInfo_IPV4_OR_IPV6:
			return newObject("anyOf", list{newObject("format", "ipv4"), newObject("format", "ipv6")})
		}
	}
	return newObject("format", s.fieldWords(fd).text("format"))
}

// hasBehavior reports whether google.api.field_behavior of a field has a value.
func hasBehavior(fd protoreflect.FieldDescriptor, want annotations.FieldBehavior) bool {
	opts, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok || !proto.HasExtension(opts, annotations.E_FieldBehavior) {
		return false
	}
	all, _ := proto.GetExtension(opts, annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(all, want)
}

func isDeprecated(opts protoreflect.ProtoMessage) bool {
	d, ok := opts.(interface{ GetDeprecated() bool })
	return ok && d.GetDeprecated()
}
