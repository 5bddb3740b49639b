package transcode_test

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// TestLenientText reads texts that ProtoJSON does not have. Without the option they are errors.
func TestLenientText(t *testing.T) {
	for _, tt := range []struct {
		typ         protoreflect.FullName
		field, text string
		want        string // in JSON, "" for an error
	}{
		{namesType, "renamed", "True", `{"other":true}`},
		{namesType, "renamed", "1", `{"other":true}`},
		{namesType, "renamed", "T", `{"other":true}`},
		{namesType, "renamed", "F", `{}`},
		{namesType, "renamed", "0", `{}`},
		{namesType, "renamed", "yes", ""},
		{namesType, "renamed", "", ""},
		{namesType, "mike", "", ""},
		{namesType, "renamed", "TrUe", ""},
		{namesType, "mike", "007", `{"mike":7}`},
		{namesType, "mike", "+7", `{"mike":7}`},
		{namesType, "mike", "2147483648", ""},
		{namesType, "mike", "02147483648", ""},
		{namesType, "mike", "0x10", ""},
		{namesType, "mike", "1_0", ""},
		{namesType, "lima", "01", `{"lima":[1]}`},
		{bookType, "id", "+9223372036854775807", `{"id":"9223372036854775807"}`},
		{bookType, "id", "+9223372036854775808", ""},
		{mapsType, "by_sint64[1]", "-007", `{"bySint64":{"1":"-7"}}`},
		{mapsType, "by_fixed32[1]", "007", `{"byFixed32":{"1":7}}`},
		{mapsType, "by_fixed32[1]", "-007", ""},
		{mapsType, "by_uint64[1]", ".5", `{"byUint64":{"1":0.5}}`},
		{mapsType, "by_uint64[1]", "5.", `{"byUint64":{"1":5}}`},
		{mapsType, "by_uint64[1]", "inf", `{"byUint64":{"1":"Infinity"}}`},
		{mapsType, "by_uint64[1]", "01e999", ""},
		{mapsType, "by_fixed64[1]", "+.5", `{"byFixed64":{"1":0.5}}`},
		{mapsType, "by_fixed64[1]", "01e39", ""},
		{knownType, "choice.bool", "t", `{"choice":{"bool":true}}`},
		{knownType, "choice.int64", "010", `{"choice":{"int64":"10"}}`},
		{knownType, "choice.duration", "1m30s", `{"choice":{"duration":"90s"}}`},
		{knownType, "choice.duration", "-1h0.5s", `{"choice":{"duration":"-3600.500s"}}`},
		{knownType, "choice.duration", "1d", ""},
	} {
		lenient, strict := codecOf(t, tt.typ, transcode.Options{LenientText: true}), codecOf(t, tt.typ, transcode.Options{})
		if wire, err := fieldOf(t, strict, tt.field).AppendText(nil, tt.text); err == nil {
			t.Errorf("%s=%s: %x without the option", tt.field, tt.text, wire)
		}
		f := fieldOf(t, lenient, tt.field)
		for name, appendTo := range map[string]func([]byte, string) ([]byte, error){"path": f.AppendText, "query": f.AppendQuery} {
			wire, err := appendTo(nil, tt.text)
			if tt.want == "" || err != nil {
				if tt.want != "" || err == nil {
					t.Errorf("%s %s=%s: %x, %v; want %s", name, tt.field, tt.text, wire, err, tt.want)
				}
				continue
			}
			if json, err := lenient.WireToJSON(nil, wire); err != nil || string(json) != tt.want {
				t.Errorf("%s %s=%s: %s, %v; want %s", name, tt.field, tt.text, json, err, tt.want)
			}
		}
	}
}
