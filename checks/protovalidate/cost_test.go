package protovalidate

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/checks"
)

func TestCost(t *testing.T) {
	long := "this.a == '" + strings.Repeat("x", maxExpression) + "'"
	for expr, want := range map[string]struct {
		degree int
		splits bool
		err    string
	}{
		`this.a > 1 && this.b < 2`:                                         {degree: 0},
		`size(this.a) > 1`:                                                 {degree: 1},
		`this.email.isEmail()`:                                             {degree: 1},
		`this.a.matches('^a+$')`:                                           {degree: 1},
		`this.a.all(x, x.n > 1 && x.name.startsWith('a'))`:                 {degree: 1},
		`this.a.filter(x, x.n > 1).map(x, x.n)`:                            {degree: 1},
		`this.a.all(x, x in ['a', 'b'])`:                                   {degree: 1},
		`this.a.all(x, x.kind == this.kind || this.kind == 7)`:             {degree: 2},
		`this.a.all(x, this.kind == 7)`:                                    {degree: 1},
		`this.a.all(x, this.a.filter(y, y.id == x.id).size() == 1)`:        {degree: 2},
		`this.a.all(x, x in this.b)`:                                       {degree: 2},
		`this.a.split(',').all(x, x != '')`:                                {degree: 1, splits: true},
		`[1, 2, 3].all(x, this.a != x)`:                                    {degree: 1},
		`[1, 2, 3].all(x, x > 1)`:                                          {degree: 0},
		`this.a.replace('a', 'b') == ''`:                                   {degree: 1},
		`this.a.replace('', this.a) == ''`:                                 {degree: 2},
		`'x'.matches(this.a)`:                                              {degree: 2},
		`this.a.all(x, this.a.all(y, this.a.all(z, x + y + z > 1)))`:       {err: "power 3"},
		`this.a.map(x, this.a).all(y, y.all(z, this.a.exists(w, w == z)))`: {err: "power"},
		`this.a.all(x, this.a.replace('', this.a) == x)`:                   {err: "power 3"},
		`this.a.all(x, this.a.all(y, this.b.contains(x)))`:                 {err: "power 3"},
		`this.a.all(x, x.matches(this.pattern))`:                           {err: "power 3"},
		nested("[0,1,2,3,4,5,6,7,8,9]", 8):                                 {err: "steps, more than 10000"},
		nested("this.a", 3):                                                {err: "power 3"},
		long:                                                               {err: "more than 8192"},
		`this is not CEL`:                                                  {degree: 0},
	} {
		c, err := expression{"test.v1.M", expr}.cost()
		switch {
		case want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)):
			t.Errorf("%.80s: %+v, %v; want an error with %q", expr, c, err, want.err)
		case want.err == "" && (err != nil || c.degree != want.degree || c.splits != want.splits):
			t.Errorf("%s: %+v, %v; want degree %d, splits %v", expr, c, err, want.degree, want.splits)
		}
	}
}

// nested is a loop in a loop, and so on.
func nested(list string, depth int) string {
	if depth == 0 {
		return "true"
	}
	return list + ".all(x" + strings.Repeat("x", depth) + ", " + nested(list, depth-1) + ")"
}

// TestHostileRules never get to the library, which would evaluate them for ever. Their messages
// pass, and operators are told.
func TestHostileRules(t *testing.T) {
	r := compileWith(t, `
extend buf.validate.StringRules {
  optional bool hostile = 80048953 [(buf.validate.predefined).cel = { id: "x", expression: "`+nested("[0,1,2,3,4,5,6,7,8,9]", 9)+`" }];
}`, `
message Loops { repeated int32 a = 1 [(buf.validate.field).cel_expression = "this.all(x, this.all(y, this.all(z, x + y + z > 0)))"]; }
message Constant { string a = 1 [(buf.validate.field).cel_expression = "`+nested("[0,1,2,3,4,5,6,7,8,9]", 9)+`"]; }
message Around { Constant a = 1; string b = 2 [(buf.validate.field).string.min_len = 1]; }
message Predefined { string a = 1 [(buf.validate.field).string.(test.v1.hostile) = true]; string b = 2 [(buf.validate.field).string.min_len = 1]; }
`)
	for message, want := range map[string]string{
		"Loops": "power 3 of the message", "Constant": "steps, more than", "Around": "steps, more than",
	} {
		check, problems := r.method(t, message)
		if check != nil || len(problems) != 1 || !strings.Contains(problems[0].Reason, want) || problems[0].Subject != "test.v1."+message {
			t.Errorf("%s: check %v, problems %+v", message, check, problems)
		}
	}
	_, problems := r.method(t, "Predefined")
	if len(problems) != 2 || problems[0].Subject != "test.v1.hostile" || problems[1].Subject != "test.v1.Predefined.a" {
		t.Errorf("a rule that the schema defines: %+v", problems)
	}
	if got := told(t, r.judge(t, "Predefined", nil)); got != "b string.min_len" {
		t.Errorf("a good rule beside it: %q", got)
	}
}

// TestHeavyRules bounds messages whose rules take time with the square of their size.
func TestHeavyRules(t *testing.T) {
	r := compileRules(t, `
message Heavy { repeated int32 a = 1 [(buf.validate.field).cel_expression = "this.all(x, this.all(y, x + y >= 0))"]; }
message Light { repeated int32 a = 1 [(buf.validate.field).cel_expression = "this.all(x, x >= 0)"]; }
message Split { string a = 1 [(buf.validate.field).cel_expression = "this.split('').all(x, this.split('').all(y, x == y))"]; }
`)
	few, many := append([]byte{0x0a, 100}, make([]byte, 100)...), append([]byte{0x0a, 0x88, 0x27}, make([]byte, 5000)...)
	const refused = "the request message has more parts than its rules can check"
	for name, tt := range map[string]struct {
		message string
		wire    []byte
		want    string
	}{
		"small":              {"Heavy", few, ""},
		"large":              {"Heavy", many, refused},
		"large, linear rule": {"Light", many, ""},
		"text that is split": {"Split", many, refused},
	} {
		if got := told(t, r.judge(t, tt.message, tt.wire)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestManyViolations keeps a hostile message from becoming gigabytes of violations: each takes a
// kilobyte.
func TestManyViolations(t *testing.T) {
	r := compileRules(t, `message Many { repeated int32 a = 1 [(buf.validate.field).repeated.items.int32.gt = 0]; }
`)
	wire := func(n int) []byte { return append(protowire.AppendVarint([]byte{0x0a}, uint64(n)), make([]byte, n)...) }
	var refusal *checks.Refusal
	if err := r.judge(t, "Many", wire(500)); !errors.As(err, &refusal) || len(refusal.Violations) != maxTold || refusal.Total != 500 {
		t.Errorf("of 500 violations, %d are told, and %d are counted", len(refusal.Violations), refusal.Total)
	}
	const size = 1 << 17
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := told(t, r.judge(t, "Many", wire(size))); got != "a[0] int32.gt" {
		t.Errorf("of many violations: %.100q", got)
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) / size; took > 200 {
		t.Errorf("it took %d bytes of memory for each byte of the message", took)
	}
}

// TestGate lets large messages wait for each other, and refuses those that would never fit.
func TestGate(t *testing.T) {
	r := compileRules(t, `message Many { repeated Many a = 1; repeated int32 b = 2 [(buf.validate.field).repeated.items.int32.gte = 0]; }
`)
	md := r.service.Methods().Get(0).Input()
	empty := func(n int) []byte { return bytes.Repeat([]byte{0x0a, 0}, n) }
	g := newGate()
	if _, err := g.enter(t.Context(), empty(1<<20), md); told(t, err) != "the request message has more parts than can be checked" {
		t.Errorf("a million empty messages: %v", err)
	}
	leave, err := g.enter(t.Context(), empty(1<<19), md)
	if err != nil {
		t.Fatalf("half a million: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx, empty(1<<19), md); err == nil {
		t.Error("there is room for two at a time")
	}
	if _, err := g.enter(ctx, empty(largeMessage/2-1), md); err != nil {
		t.Errorf("a small message waits: %v", err)
	}
	leave()
	if leave, err = g.enter(t.Context(), empty(1<<19), md); err != nil {
		t.Fatal(err)
	}
	leave()
}

// TestDecodedSize compares the estimate with what decoding takes.
func TestDecodedSize(t *testing.T) {
	r := compileRules(t, `message Many { repeated Many a = 1; repeated int32 b = 2 [(buf.validate.field).repeated.items.int32.gte = 0]; repeated string c = 3; map<int32, string> d = 4; }
`)
	md := r.service.Methods().Get(0).Input()
	packed := append(protowire.AppendVarint([]byte{0x12}, 100_000), make([]byte, 100_000)...)
	for name, wire := range map[string][]byte{
		"empty messages":   bytes.Repeat([]byte{0x0a, 0}, 20_000),
		"messages":         bytes.Repeat([]byte{0x0a, 2, 0x10, 1}, 20_000),
		"nested":           bytes.Repeat([]byte{0x0a, 4, 0x0a, 2, 0x0a, 0}, 20_000),
		"packed":           packed,
		"unpacked":         bytes.Repeat([]byte{0x10, 1}, 50_000),
		"empty texts":      bytes.Repeat([]byte{0x1a, 0}, 50_000),
		"entries of a map": bytes.Repeat([]byte{0x22, 0}, 50_000),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		msg := dynamicpb.NewMessage(md)
		if err := decoding().Unmarshal(wire, msg); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		if guess := decodedSize(wire, md, maxNesting); guess < took/2 {
			t.Errorf("%s: %d bytes take %d, and the guess is %d", name, len(wire), took, guess)
		}
		runtime.KeepAlive(msg)
	}
}
