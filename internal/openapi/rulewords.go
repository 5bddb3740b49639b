package openapi

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// wordRules are the rules of a value that JSON schema has no keyword for, as sentences. JSON schema
// counts the characters of base64 and not the bytes, does not compare durations and times, and
// would have to list each value of an enum twice, as a name and as a number.
func wordRules(rules option, fd protoreflect.FieldDescriptor) []string {
	switch fd.Kind() {
	case protoreflect.BytesKind:
		return byteWords(rules.at("bytes"))
	case protoreflect.EnumKind:
		return enumWords(rules.at("enum"), fd.Enum())
	case protoreflect.MessageKind:
		switch fd.Message().FullName() {
		case "google.protobuf.BytesValue":
			return byteWords(rules.at("bytes"))
		case "google.protobuf.Duration":
			return momentWords(rules.at("duration"), durationText)
		case "google.protobuf.Timestamp":
			return momentWords(rules.at("timestamp"), timestampText)
		}
	}
	return nil
}

// ofEach says that sentences are about the parts of a field.
func ofEach(part string, sentences []string) []string {
	for i, sentence := range sentences {
		sentences[i] = "Each " + part + ": " + strings.ToLower(sentence[:1]) + sentence[1:]
	}
	return sentences
}

func byteWords(r option) []string {
	var notes []string
	for _, rule := range []struct{ field, words string }{
		{"len", "It has exactly %v bytes."}, {"min_len", "It has at least %v bytes."}, {"max_len", "It has at most %v bytes."},
	} {
		if n := r.number(rule.field); n != nil {
			notes = append(notes, fmt.Sprintf(rule.words, n))
		}
	}
	return notes
}

func enumWords(r option, ed protoreflect.EnumDescriptor) []string {
	var notes []string
	if number := r.number("const"); number != nil {
		notes = append(notes, "It is "+enumNames(list{number}, ed)+".")
	}
	if numbers := r.values("in"); len(numbers) > 0 {
		notes = append(notes, "It is one of "+enumNames(numbers, ed)+".")
	}
	if numbers := r.values("not_in"); len(numbers) > 0 {
		notes = append(notes, "It is none of "+enumNames(numbers, ed)+".")
	}
	if r.flag("defined_only") {
		notes = append(notes, "Numbers without a name are refused.")
	}
	return notes
}

// enumNames writes numbers of an enum by their names, where they have one.
func enumNames(numbers list, ed protoreflect.EnumDescriptor) string {
	names := make([]string, len(numbers))
	for i, number := range numbers {
		names[i] = "`" + enumName(number, ed) + "`"
	}
	return strings.Join(names, ", ")
}

func enumName(number any, ed protoreflect.EnumDescriptor) string {
	text := fmt.Sprint(number)
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return text
	}
	if value := ed.Values().ByNumber(protoreflect.EnumNumber(n)); value != nil {
		return string(value.Name())
	}
	return text
}

// momentWords are the rules of a Duration or a Timestamp, whose values write writes.
func momentWords(r option, write func(seconds int64, nanos int32) string) []string {
	var notes []string
	for _, rule := range []struct {
		field, words string
		write        func(seconds int64, nanos int32) string
	}{
		{"const", "It is %s.", write},
		{"gt", "It is more than %s.", write},
		{"gte", "It is at least %s.", write},
		{"lt", "It is less than %s.", write},
		{"lte", "It is at most %s.", write},
		{"within", "It differs from now by at most %s.", durationText},
	} {
		value := r.at(rule.field)
		if len(value) == 0 {
			continue
		}
		seconds, _ := value.number("seconds").(int64) // What is not set is 0.
		nanos, _ := value.number("nanos").(int32)
		notes = append(notes, fmt.Sprintf(rule.words, rule.write(seconds, nanos)))
	}
	if r.flag("gt_now") {
		notes = append(notes, "It is in the future.")
	}
	if r.flag("lt_now") {
		notes = append(notes, "It is in the past.")
	}
	return notes
}

// durationText writes a Duration as ProtoJSON does. Those of protobuf do not fit into Go's.
func durationText(seconds int64, nanos int32) string {
	sign := ""
	if seconds < 0 || nanos < 0 {
		sign, seconds, nanos = "-", -seconds, -nanos
	}
	if nanos == 0 {
		return fmt.Sprintf("`%s%ds`", sign, seconds)
	}
	return fmt.Sprintf("`%s%d.%ss`", sign, seconds, strings.TrimRight(fmt.Sprintf("%09d", nanos), "0"))
}

func timestampText(seconds int64, nanos int32) string {
	return "`" + time.Unix(seconds, int64(nanos)).UTC().Format(time.RFC3339Nano) + "`"
}
