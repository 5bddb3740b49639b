package module

import (
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

func TestJSONOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		json *JSONOptions
		want transcode.Options
		err  string
	}{
		{"none", nil, transcode.Options{RawMaskPaths: true}, ""},
		{"the defaults by name", &JSONOptions{EnumPrefix: "keep", EnumCase: "exact"}, transcode.Options{RawMaskPaths: true}, ""},
		{"enum names", &JSONOptions{EnumPrefix: "omit", EnumCase: "lower"},
			transcode.Options{RawMaskPaths: true, OmitEnumPrefix: true, EnumCase: transcode.EnumCaseLower}, ""},
		{"enum names in any case", &JSONOptions{EnumCase: "any"}, transcode.Options{RawMaskPaths: true, EnumCase: transcode.EnumCaseAny}, ""},
		{"null for unset messages", &JSONOptions{EmitUnpopulated: new(true)}, transcode.Options{RawMaskPaths: true, EmitUnpopulated: true}, ""},
		{"limits", &JSONOptions{MaxDepth: 1, MaxAnswerDepth: 10_000}, transcode.Options{RawMaskPaths: true, MaxDepth: 1, MaxWireDepth: 10_000}, ""},
		{"no such case", &JSONOptions{EnumCase: "upper"}, transcode.Options{}, `enum_case "upper": expected exact, any or lower`},
		{"no such prefix", &JSONOptions{EnumPrefix: "strip"}, transcode.Options{}, `enum_prefix "strip": expected keep or omit`},
		{"too deep", &JSONOptions{MaxDepth: 10_001}, transcode.Options{}, "max_depth 10001: expected a number from 1 to 10000"},
		{"no depth", &JSONOptions{MaxAnswerDepth: -1}, transcode.Options{}, "max_answer_depth -1: expected a number from 1 to 10000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.json.compile()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}
