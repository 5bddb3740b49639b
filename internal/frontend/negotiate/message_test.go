package negotiate

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessage(t *testing.T) {
	tests := []struct{ name, message, encoded string }{
		{"empty", "", ""},
		{"plain", "not found: user 7 (~!)", "not found: user 7 (~!)"},
		{"percent sign", "100%", "100%25"},
		{"what looks encoded", "%41", "%2541"},
		{"line feed and tab", "a\n\tb", "a%0A%09b"},
		{"delete and NUL", "\x7f\x00", "%7F%00"},
		{"UTF-8", "gr\u00f6\u00dfe \u4f60", "gr%C3%B6%C3%9Fe %E4%BD%A0"},
		{"spaces at the ends, which HTTP would cut off", " a b  ", "%20a b %20"},
		{"one space", " ", "%20"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := EncodeMessage(tt.message); got != tt.encoded {
				t.Errorf("EncodeMessage(%q) = %q, want %q", tt.message, got, tt.encoded)
			}
			if got := DecodeMessage(tt.encoded); got != tt.message {
				t.Errorf("DecodeMessage(%q) = %q, want %q", tt.encoded, got, tt.message)
			}
		})
	}
}

func TestDecodeMessageTolerates(t *testing.T) {
	for encoded, want := range map[string]string{
		"a%":        "a%",
		"a%4":       "a%4",
		"%zz%41":    "%zzA",
		"%%41":      "%A",
		"%c3%b6":    "\u00f6",
		"caf\u00e9": "caf\u00e9", // not encoded, though it should be
		"%ff":       "\ufffd",
		"\xff":      "\ufffd",
		"%E4%BD":    "\ufffd",
	} {
		if got := DecodeMessage(encoded); got != want {
			t.Errorf("DecodeMessage(%q) = %q, want %q", encoded, got, want)
		}
	}
}

func TestEncodeMessageReplacesWhatIsNotUTF8(t *testing.T) {
	if got, want := EncodeMessage("a\xffb"), "a%EF%BF%BDb"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"", " a ", "100%", "%41%zz%", "gr\u00f6\u00dfe\n", "\xff%ff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := EncodeMessage(text)
		for i := range len(encoded) {
			if encoded[i] < ' ' || encoded[i] > '~' {
				t.Fatalf("EncodeMessage(%q) = %q, which is no header value", text, encoded)
			}
		}
		if strings.TrimSpace(encoded) != encoded {
			t.Fatalf("EncodeMessage(%q) = %q, whose ends HTTP cuts off", text, encoded)
		}
		if got, want := DecodeMessage(encoded), strings.ToValidUTF8(text, "\ufffd"); got != want {
			t.Fatalf("%q is encoded %q and decoded %q", text, encoded, got)
		}
		if got := DecodeMessage(text); !utf8.ValidString(got) {
			t.Fatalf("DecodeMessage(%q) = %q, not UTF-8", text, got)
		}
	})
}
