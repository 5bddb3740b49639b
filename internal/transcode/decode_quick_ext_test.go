package transcode_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// TestShortWayReadsAsTheLongOne reads each value twice: with room for the short way, and without
// spare memory for the output, so that the long way reads it. Both must accept the same values and
// write the same wire.
func TestShortWayReadsAsTheLongOne(t *testing.T) {
	numbers := strings.Fields(`0 -0 1 -1 7 12345678 123456789 00 01 -01 1.0 1.50 -0.5 .5 1. 1e3 1E-2 1e 12x 1-2 +1 - --1 127 128 2147483647 2147483648
		-2147483648 -2147483649 4294967295 4294967296 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
		1234567890123456 12345678901234567 9999999999999999999 18446744073709551615 18446744073709551616 100000000000000000000
		0.1 123.4567 1234567.1234567 12345678.5 0.12345678 1e400 true false null truex falsey NaN Infinity`)
	texts := []string{
		``, `a`, `1234567`, `12345678`, `NEG`, `FOO`, `ZAB`, `BAZ_`, `a\n`, `Grüße`, "a\x01", "\xff", `2024-03-01T09:30:00Z`, `\u00e4`,
		strings.Repeat("x", 118), strings.Repeat("x", 119), strings.Repeat("x", 120), strings.Repeat("x", 127), strings.Repeat("x", 128),
		strings.Repeat("x", 300), strings.Repeat("x", 100) + `\"`,
	}
	values := append([]string{`{}`, `[]`, `"`}, numbers...)
	for _, s := range append(texts, numbers...) {
		values = append(values, `"`+s+`"`)
	}
	codec := codecOf(t, proto3All, transcode.Options{})
	for _, kind := range []string{
		"Int32", "Int64", "Uint32", "Uint64", "Sint32", "Sint64", "Fixed32", "Fixed64", "Sfixed32", "Sfixed64", "Float", "Double", "Bool",
		"String", "Bytes", "NestedEnum",
	} {
		for _, value := range values {
			for _, text := range []string{
				fmt.Sprintf(`{"optional%s":%s}`, kind, value),
				fmt.Sprintf(`{"repeated%s":[%s,%s]}`, kind, value, value),
				fmt.Sprintf("{ \"repeated%s\" :\n[ %s , %s ] , \"optional%s\"\t:\r%s }", kind, value, value, kind, value),
			} {
				long, longErr := codec.JSONToWire(nil, []byte(text))
				short, shortErr := codec.JSONToWire(make([]byte, 0, 1<<12), []byte(text+strings.Repeat(" ", 40)))
				if (longErr == nil) != (shortErr == nil) || !bytes.Equal(long, short) {
					t.Errorf("%s: the short way gives %x (%v), the long one %x (%v)", text, short, shortErr, long, longErr)
				}
			}
		}
	}
}
