package caddyblock

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// settings is what the test's kind can be told.
type settings struct {
	port string
	tags []string
	hold caddy.Duration
}

func block(directive string, s *settings) *Block {
	return &Block{
		Directive: directive, Kind: "test", Expected: "one service, as in: " + directive + " test user",
		Options: map[string]Option{"port": Text(&s.port), "tag": Texts(&s.tags), "hold": Hold(&s.hold)},
	}
}

func TestUnmarshal(t *testing.T) {
	var s settings
	input := "test user {\nport grpc\ntag a b\ntag c\nhold 5s\n}"
	argument, line, err := block("discover", &s).Unmarshal(caddyfile.NewTestDispenser(input))
	if err != nil || argument != "user" {
		t.Fatalf("got %q, %v", argument, err)
	}
	if s.port != "grpc" || strings.Join(s.tags, " ") != "a b c" || s.hold != caddy.Duration(5*time.Second) {
		t.Errorf("got %+v", s)
	}
	if err := line.Err("x"); !strings.Contains(err.Error(), "Testfile:1") {
		t.Errorf("an error about the whole: %v", err)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for input, want := range map[string]string{
		"other user":                      "discover other: expected test, at Testfile:1",
		"test":                            "expected one service, as in: discover test user, at Testfile:1",
		"test user order":                 "expected one service",
		"test user {\npot a\n}":           `unknown option "pot" of discover test: expected hold, port or tag, at Testfile:2`,
		"test user {\nport a\nport b\n}":  "option port of discover test is given twice, at Testfile:3",
		"test user {\nport\n}":            "wrong argument count",
		"test user {\nport a b\n}":        "wrong argument count",
		"test user {\nport \"\"\n}":       "wrong argument count",
		"test user {\ntag\n}":             "wrong argument count",
		"test user {\ntag a \"\"\n}":      "wrong argument count",
		"test user {\nhold\n}":            "wrong argument count",
		"test user {\nhold soon\n}":       `hold "soon": expected a duration, such as 60s, or off, at Testfile:2`,
		"test user {\nhold 1s\nhold 1s\n": "option hold of discover test is given twice",
	} {
		_, _, err := block("discover", new(settings)).Unmarshal(caddyfile.NewTestDispenser(input))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", input, err, want)
		}
	}
	_, _, err := block("catalog", new(settings)).Unmarshal(caddyfile.NewTestDispenser("test user {\nlimt 5\n}"))
	if want := "of catalog test: expected hold, port or tag, or an option of every catalog"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestUnmarshalWithoutArgument(t *testing.T) {
	b := Block{Directive: "catalog", Kind: "test", Expected: "one address at most", Optional: true}
	for input, want := range map[string]string{"test": "", "test {\n}": "", "test a": "a"} {
		if got, _, err := b.Unmarshal(caddyfile.NewTestDispenser(input)); err != nil || got != want {
			t.Errorf("%q: got %q, %v", input, got, err)
		}
	}
	if _, _, err := b.Unmarshal(caddyfile.NewTestDispenser("test a b")); err == nil || !strings.Contains(err.Error(), "expected one address at most") {
		t.Errorf("got %v", err)
	}
}

func TestParseHold(t *testing.T) {
	for value, want := range map[string]time.Duration{"off": -1, "0": -1, "0s": -1, "90s": 90 * time.Second} {
		if got, err := ParseHold(value); err != nil || time.Duration(got) != want {
			t.Errorf("%s: got %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"", "-1s", "never"} {
		if got, err := ParseHold(value); err == nil {
			t.Errorf("%q: got %v", value, got)
		}
	}
}
