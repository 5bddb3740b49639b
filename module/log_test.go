package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-grpc/gateway/discovery"
)

// hostile is what a service or a registry may send to forge a line or to change a terminal.
const hostile = "x\n{\"level\":\"error\"}\r\t\x1b[2J\u202egpj\x00\u009b31m\xff\u2028end"

type stringer struct{}

func (stringer) String() string { return hostile }

// Whatever goes into a log line is one line that prints, in both of Caddy's formats.
func TestLogIsPrintable(t *testing.T) {
	for name, encoder := range map[string]zapcore.Encoder{
		"json":    zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		"console": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := printable(zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.InfoLevel)))
			log = log.With(zap.String("context", hostile))
			log.Debug("not written")
			log.Warn("message "+hostile, zap.String("a", hostile), zap.Error(errors.New(hostile)), zap.Stringer("b", stringer{}),
				zap.Strings("c", []string{hostile}), zap.ByteString("d", []byte(hostile)), zap.Any("e", errors.New(hostile)),
				zap.Int("n", 7))
			text := strings.TrimSuffix(out.String(), "\n")
			text = strings.ReplaceAll(text, "\t", " ") // The console's separator.
			if text == "" || discovery.Printable(text) != text {
				t.Errorf("not printable: %q", text)
			}
			if n := strings.Count(text, "gpj"); n != 8 {
				t.Errorf("%d texts of 8: %s", n, text)
			}
			if !strings.Contains(text, `"n": 7`) && !strings.Contains(text, `"n":7`) {
				t.Errorf("no number: %s", text)
			}
		})
	}
}

// JSON for a terminal is the same value.
func TestPrintableJSON(t *testing.T) {
	for _, indent := range []string{"", "\t"} {
		raw, err := marshal(map[string]string{"text": hostile + "\U000e0041"}, indent)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(hostile, "\ufffd") + "\U000e0041"; back["text"] != want {
			t.Errorf("expected %q, found %q", want, back["text"])
		}
		for line := range strings.Lines(string(raw)) {
			if text := strings.Trim(line, "\n\t"); discovery.Printable(text) != text {
				t.Errorf("not printable: %q", text)
			}
		}
	}
}

// JSON that a service wrote itself, as an HttpBody, cannot write over a line either.
func TestPrintableJSONOfService(t *testing.T) {
	for name, tc := range map[string]struct{ json, want string }{
		"carriage return":          {"{\"denied\":true,\r\"x\":1}", "{\"denied\":true, \"x\":1}"},
		"byte that is not UTF-8":   {"\"\x9b31m\"", `"\ufffd31m"`},
		"control sequence in C1":   {"\"\u009b31m\"", `"\u009b31m"`},
		"replacement character":    {"\"\ufffd\"", "\"\ufffd\""},
		"line break between lines": {"{\n}", "{\n}"},
	} {
		t.Run(name, func(t *testing.T) {
			if !json.Valid([]byte(tc.json)) {
				t.Fatal("the input must be JSON")
			}
			if got := string(printableJSON([]byte(tc.json))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
