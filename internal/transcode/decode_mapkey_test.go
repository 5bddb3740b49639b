package transcode

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"
)

func TestParseMapKey(t *testing.T) {
	for _, tt := range []struct {
		text string
		kind kind
		want uint64
		ok   bool
	}{
		{"true", kindBool, 1, true},
		{"false", kindBool, 0, true},
		{"True", kindBool, 0, false},
		{"1", kindBool, 0, false},
		{"5", kindInt32, 5, true},
		{"+5", kindInt32, 5, true},
		{"007", kindInt32, 7, true},
		{"-1", kindInt32, 1<<64 - 1, true},
		{"-1", kindSint32, 1, true},
		{"-1", kindSfixed32, 1<<32 - 1, true},
		{"-2147483648", kindInt32, 1<<64 - 1<<31, true},
		{"2147483648", kindInt32, 0, false},
		{"-2147483649", kindInt32, 0, false},
		{"9223372036854775807", kindInt64, 1<<63 - 1, true},
		{"-9223372036854775808", kindSint64, 1<<64 - 1, true},
		{"9223372036854775808", kindInt64, 0, false},
		{"18446744073709551615", kindUint64, 1<<64 - 1, true},
		{"18446744073709551616", kindUint64, 0, false},
		{"4294967295", kindFixed32, 1<<32 - 1, true},
		{"4294967296", kindUint32, 0, false},
		{"-0", kindUint32, 0, false},
		{"+1", kindUint64, 0, false},
		{"", kindInt32, 0, false},
		{"-", kindInt64, 0, false},
		{"1.0", kindInt32, 0, false},
		{"1e2", kindInt32, 0, false},
		{"1_000", kindInt32, 0, false},
		{" 1", kindInt32, 0, false},
	} {
		if got, ok := parseMapKey([]byte(tt.text), tt.kind); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q of kind %d: got %d, %v, want %d, %v", tt.text, tt.kind, got, ok, tt.want, tt.ok)
		}
	}
}

// TestDuplicateKeys repeats the first, the middle or the last key of objects with few and with many
// keys.
func TestDuplicateKeys(t *testing.T) {
	codec, err := NewCompiler(nil, Options{}).Codec((&structpb.Struct{}).ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{2, fewKeys, fewKeys + 1, 100, 5000} {
		keys := make([]string, count)
		for i := range keys {
			keys[i] = fmt.Sprintf(`"key %d":{"a":%d}`, i, i)
		}
		text := "{" + strings.Join(keys, ",") + "}"
		if _, err := codec.JSONToWire(nil, []byte(text)); err != nil {
			t.Errorf("%d keys: %v", count, err)
		}
		for _, again := range []int{0, count / 2, count - 1} {
			twice := text[:len(text)-1] + fmt.Sprintf(`,"key\u0020%d":null}`, again)
			if _, err := codec.JSONToWire(nil, []byte(twice)); err == nil {
				t.Errorf("%d keys: key %d again is accepted", count, again)
			}
		}
	}
}
