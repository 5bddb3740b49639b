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
