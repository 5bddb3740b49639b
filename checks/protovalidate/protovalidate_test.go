package protovalidate

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"
)

// TestWhichMethodsAreChecked keeps methods without rules free of cost: they have no check at all.
func TestWhichMethodsAreChecked(t *testing.T) {
	r := compileRules(t, `
message Plain { string a = 1; Plain child = 2; map<string, Plain> children = 3; }
message Direct { string a = 1 [(buf.validate.field).string.min_len = 1]; }
message Nested { Direct a = 1; }
message InList { repeated Direct a = 1; }
message InMap { map<string, Direct> a = 1; }
message Deep { Loop a = 1; }
message Loop { Loop a = 1; InList b = 2; }
message Expression { option (buf.validate.message).cel_expression = "this.a > 1"; int32 a = 1; }
message OneofRule { oneof x { option (buf.validate.oneof).required = true; int32 a = 1; } }
message Either { option (buf.validate.message).oneof = { fields: ["a", "b"] }; int32 a = 1; int32 b = 2; }
message Required { Plain a = 1 [(buf.validate.field).required = true]; }
message Ignored { Direct a = 1 [(buf.validate.field).ignore = IGNORE_ALWAYS]; string b = 2 [(buf.validate.field).ignore = IGNORE_ALWAYS]; }
message Items { repeated string a = 1 [(buf.validate.field).repeated.items.string.min_len = 1]; }
`)
	for message, want := range map[string]bool{
		"Plain": false, "Direct": true, "Nested": true, "InList": true, "InMap": true, "Deep": true, "Loop": true, "Expression": true,
		"OneofRule": true, "Either": true, "Required": true, "Ignored": false, "Items": true,
	} {
		check, problems := r.method(t, message)
		if (check != nil) != want || len(problems) > 0 {
			t.Errorf("%s: check %v, want %v; problems %v", message, check != nil, want, problems)
		}
	}
}

// json makes the wire form of a message.
func (r rules) json(t testing.TB, message, text string) []byte {
	t.Helper()
	for i := range r.service.Methods().Len() {
		if m := r.service.Methods().Get(i); string(m.Name()) == message {
			msg := dynamicpb.NewMessage(m.Input())
			if err := protojson.Unmarshal([]byte(text), msg); err != nil {
				t.Fatal(err)
			}
			return mustMarshal(t, msg)
		}
	}
	t.Fatalf("there is no message %s", message)
	return nil
}

func TestViolations(t *testing.T) {
	r := compileWith(t, `
extend buf.validate.StringRules {
  optional bool even_length = 80048952 [(buf.validate.predefined).cel = { id: "string.even", message: "must be even", expression: "!rule || size(this) % 2 == 0" }];
}`, `
message User {
  string first_name = 1 [(buf.validate.field).string.min_len = 1];
  repeated Address home_addresses = 2 [(buf.validate.field).repeated.max_items = 2];
  map<string, Address> by_label = 3 [(buf.validate.field).map.keys.string.max_len = 3];
  map<int32, Address> by_number = 4;
  oneof contact { option (buf.validate.oneof).required = true; string mail = 5 [(buf.validate.field).string.email = true]; string phone = 6; }
  repeated string tags = 7 [(buf.validate.field).repeated.items.string.min_len = 2];
  option (buf.validate.message).cel = { id: "user.same", message: "name and phone must differ", expression: "this.first_name == '' || this.first_name != this.phone" };
  string code = 8 [(buf.validate.field).string.(test.v1.even_length) = true];
}
message Address { string zip_code = 1 [(buf.validate.field).string.pattern = "^[0-9]+$"]; }
`)
	const fine = `"firstName":"A","mail":"a@b.example"`
	for name, tt := range map[string]struct{ json, want string }{
		"valid":            {`{` + fine + `}`, ""},
		"field":            {`{"mail":"a@b.example"}`, "firstName string.min_len"},
		"two":              {`{"mail":"no"}`, "firstName string.min_len\nmail string.email"},
		"list":             {`{` + fine + `,"homeAddresses":[{"zipCode":"1"},{"zipCode":"x"}]}`, "homeAddresses[1].zipCode string.pattern"},
		"list as a whole":  {`{` + fine + `,"homeAddresses":[{"zipCode":"1"},{"zipCode":"1"},{"zipCode":"1"}]}`, "homeAddresses repeated.max_items"},
		"item":             {`{` + fine + `,"tags":["ab","c"]}`, "tags[1] string.min_len"},
		"value of a map":   {`{` + fine + `,"byLabel":{"a":{"zipCode":"x"}}}`, `byLabel["a"].zipCode string.pattern`},
		"key of a map":     {`{` + fine + `,"byLabel":{"a\"bc":{"zipCode":"1"}}}`, `byLabel["a\"bc"] string.max_len`},
		"number as key":    {`{` + fine + `,"byNumber":{"-7":{"zipCode":"x"}}}`, `byNumber[-7].zipCode string.pattern`},
		"oneof":            {`{"firstName":"A"}`, "contact required"},
		"message":          {`{"firstName":"A","phone":"A"}`, "user.same"},
		"rule of a schema": {`{` + fine + `,"code":"abc"}`, "code string.even"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(t, r.judge(t, "User", r.json(t, "User", tt.json))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRulesThatDoNotCompile never costs a call. What does compile is still checked.
func TestRulesThatDoNotCompile(t *testing.T) {
	r := compileRules(t, `
message Field {
  string bad = 1 [(buf.validate.field).cel_expression = "this.nothing > 1"];
  string good = 2 [(buf.validate.field).string.min_len = 1];
}
message Message { option (buf.validate.message).cel_expression = "no_such_function(this)"; string good = 1 [(buf.validate.field).string.min_len = 1]; }
message Outer { Message inner = 1; string good = 2 [(buf.validate.field).string.min_len = 1]; }
message WrongKind { string a = 1 [(buf.validate.field).int32.gt = 1]; string good = 2 [(buf.validate.field).string.min_len = 1]; }
message Items { repeated string a = 1 [(buf.validate.field).repeated.items.cel_expression = "1 +"]; string good = 2 [(buf.validate.field).string.min_len = 1]; }
message NoField { option (buf.validate.message).oneof = { fields: ["nothing"] }; string good = 1 [(buf.validate.field).string.min_len = 1]; }
message NoBool { string a = 1 [(buf.validate.field).cel_expression = "1"]; string good = 2 [(buf.validate.field).string.min_len = 1]; }
`)
	for message, want := range map[string]string{
		"Field":     "test.v1.Field.bad",
		"Message":   "test.v1.Message",
		"Outer":     "test.v1.Message",
		"WrongKind": "test.v1.WrongKind.a",
		"Items":     "test.v1.Items.a",
		"NoField":   "test.v1.NoField",
		"NoBool":    "test.v1.NoBool.a",
	} {
		t.Run(message, func(t *testing.T) {
			_, problems := r.method(t, message)
			if len(problems) != 1 || problems[0].Subject != want || !strings.Contains(problems[0].Reason, "do not compile") ||
				strings.Contains(problems[0].Reason, "\n") {
				t.Errorf("problems: %+v", problems)
			}
			if got := told(t, r.judge(t, message, r.json(t, message, `{"good":"x"}`))); got != "" {
				t.Errorf("a message is refused because of a bad rule: %s", got)
			}
			if got := told(t, r.judge(t, message, nil)); got != "good string.min_len" {
				t.Errorf("a good rule beside it: %q", got)
			}
		})
	}
}

// TestMessagesThatCannotBeJudged never pass: otherwise a client could get around all rules by one
// message that breaks one of them.
func TestMessagesThatCannotBeJudged(t *testing.T) {
	r := compileRules(t, `
message Divided { int32 a = 1 [(buf.validate.field).cel_expression = "10 / this > 1"]; string name = 2 [(buf.validate.field).string.min_len = 1]; }
message Deep { Deep a = 1; string name = 2 [(buf.validate.field).string.max_len = 1]; }
`)
	if got := told(t, r.judge(t, "Divided", r.json(t, "Divided", `{"name":"x"}`))); !strings.HasPrefix(got, "failed: check test.v1.Divided: runtime error: ") {
		t.Errorf("a rule that fails: %q", got)
	}
	if got := told(t, r.judge(t, "Divided", []byte("\x08"))); got != "the request message is not a valid test.v1.Divided" {
		t.Errorf("malformed: %q", got)
	}
	deep := []byte{}
	for range maxNesting + 1 {
		head := []byte{0x0a}
		for n := len(deep); ; n >>= 7 {
			if n < 0x80 {
				head = append(head, byte(n))
				break
			}
			head = append(head, byte(n)|0x80)
		}
		deep = append(head, deep...)
	}
	if got := told(t, r.judge(t, "Deep", deep)); got != "the request message is not a valid test.v1.Deep" {
		t.Errorf("nested too deeply: %q", got)
	}
}
