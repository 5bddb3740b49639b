package protovalidate

import (
	"errors"
	"testing"

	"github.com/caddy-grpc/gateway/checks"
)

// FuzzMessage judges arbitrary bytes. The only errors are refusals and rules that fail.
func FuzzMessage(f *testing.F) {
	r := compileRules(f, `
message M {
  string a = 1 [(buf.validate.field).string.min_len = 1];
  repeated M b = 2 [(buf.validate.field).repeated.max_items = 3];
  map<string, M> c = 3 [(buf.validate.field).map.keys.string.max_len = 2];
  oneof x { option (buf.validate.oneof).required = true; int32 d = 4 [(buf.validate.field).int32.gt = 1]; bytes e = 5; }
  repeated int32 g = 6 [(buf.validate.field).cel = { id: "g" expression: "this.all(x, this.filter(y, x == y).size() == 1)" }];
}
`)
	check, problems := r.method(f, "M")
	if check == nil || len(problems) > 0 {
		f.Fatal(problems)
	}
	for _, seed := range []string{"", "\x0a\x01a", "\x12\x02\x0a\x00", "\x1a\x05\x0a\x01k\x12\x00", "\x20\x01", "\x32\x02\x01\x01", "\x0a\xff\xff\xff\xff\x0f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var refusal *checks.Refusal
		if err := check.Message(t.Context(), wire); err != nil && !errors.As(err, &refusal) {
			t.Errorf("%x: %v", wire, err)
		}
	})
}

// FuzzCost estimates arbitrary texts. What passes has a cost within the limits.
func FuzzCost(f *testing.F) {
	for _, seed := range []string{"", "this.a.all(x, x > 1)", "[[1]].map(x, x.map(y, y))", "{'a': this}.exists(k, k == this.b)", "a.b(c)[d] ? e : f{g: 1}", "has(this.a)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := expression{"test.v1.M", text}.cost()
		if err == nil && (c.degree > maxDegree || c.factor > maxFactor) {
			t.Errorf("%q costs %+v", text, c)
		}
	})
}
