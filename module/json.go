package module

import (
	"fmt"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// maxJSONDepth is the largest limit of nesting that can be set. It is the limit of protobuf's Go
// runtime, and takes 16 MiB of stack.
const maxJSONDepth = 10_000

// enumCases are the values of JSONOptions.EnumCase.
var enumCases = map[string]transcode.EnumCase{
	"":      transcode.EnumCaseExact,
	"exact": transcode.EnumCaseExact,
	"any":   transcode.EnumCaseAny,
	"lower": transcode.EnumCaseLower,
}

// JSONOptions say how JSON is written and how strictly it is read. The defaults are those of the
// ProtoJSON specification.
type JSONOptions struct {
	// Whether field names are written as in the .proto file, and not in lowerCamelCase. Both are
	// read in any case. Default: false.
	UseProtoNames bool `json:"use_proto_names,omitempty"`

	// Whether fields at their default, empty lists and empty maps are written. Default: false.
	EmitDefaults bool `json:"emit_defaults,omitempty"`

	// Whether `emit_defaults` applies, and `null` is written for messages that are not set. As
	// protojson's EmitUnpopulated does, this also writes `null` for fields of proto2 and of
	// editions that are not set and have presence, and leaves out members of oneofs and optional
	// fields of proto3. Default: false.
	EmitUnpopulated *bool `json:"emit_unpopulated,omitempty"`

	// Whether enum values are written as numbers. Names and numbers are read in any case. Default:
	// false.
	EnumsAsNumbers bool `json:"enums_as_numbers,omitempty"`

	// Whether unknown fields and unknown enum names in bodies, and unknown enum names in queries,
	// are skipped. Otherwise they get 400. Default: false.
	DiscardUnknown *bool `json:"discard_unknown,omitempty"`

	// Whether text after the JSON value of a request body is ignored. Otherwise it gets 400. It
	// does not apply to streams, in which messages follow one another. Default: false.
	DiscardTrailing *bool `json:"discard_trailing,omitempty"`

	// Whether the names of enum values begin with the name of their enum. `keep` (default) writes
	// them as they are declared, and reads nothing else. `omit` writes `PENDING` for the value
	// `ORDER_STATUS_PENDING` of the enum `OrderStatus`, and reads both. A name that would not be
	// unique is written in full.
	EnumPrefix string `json:"enum_prefix,omitempty"`

	// The case of the names of enum values. `exact` (default) reads and writes them as they are
	// declared. `any` reads them in any case. `lower` reads them in any case and writes them in
	// lower case.
	EnumCase string `json:"enum_case,omitempty"`

	// How deeply messages, lists and objects in a request may be nested, from 1 to 10000. A request
	// that is nested more deeply gets 400. A level takes about 1 KiB of memory while the request is
	// converted. Default: 100.
	MaxDepth int `json:"max_depth,omitempty"`

	// How deeply messages, lists and objects in an answer may be nested, from 1 to 10000. An answer
	// that is nested more deeply becomes 500. A level takes about 2 KiB of memory while the answer
	// is converted. Default: 1000.
	MaxAnswerDepth int `json:"max_answer_depth,omitempty"`
}

// compile makes the options of the transcoder. If j is nil they are the defaults.
func (j *JSONOptions) compile() (transcode.Options, error) {
	if j == nil {
		j = &JSONOptions{}
	}
	opts := transcode.Options{
		UseProtoNames:  j.UseProtoNames,
		EmitDefaults:   j.EmitDefaults,
		EnumsAsNumbers: j.EnumsAsNumbers,
		DiscardUnknown: isOn(j.DiscardUnknown),
		OmitEnumPrefix: j.EnumPrefix == "omit",
		RawMaskPaths:   true,
		MaxDepth:       j.MaxDepth,
		MaxWireDepth:   j.MaxAnswerDepth,

		EmitUnpopulated: isOn(j.EmitUnpopulated),
	}
	var ok bool
	switch opts.EnumCase, ok = enumCases[j.EnumCase]; {
	case !ok:
		return opts, fmt.Errorf("enum_case %q: expected exact, any or lower", j.EnumCase)
	case j.EnumPrefix != "" && j.EnumPrefix != "keep" && j.EnumPrefix != "omit":
		return opts, fmt.Errorf("enum_prefix %q: expected keep or omit", j.EnumPrefix)
	}
	for name, depth := range map[string]int{"max_depth": j.MaxDepth, "max_answer_depth": j.MaxAnswerDepth} {
		if depth < 0 || depth > maxJSONDepth {
			return opts, fmt.Errorf("%s %d: expected a number from 1 to %d", name, depth, maxJSONDepth)
		}
	}
	return opts, nil
}
