package transcode_test

import (
	"math"
	"strings"
)

// float returns a number that is often hard to write or to read.
func (t *tape) float() float64 {
	switch t.n(5) {
	case 0:
		return pick(t, 0, math.Copysign(0, -1), 1, -1, 0.1, 0.5, 1.5, 1e6, 1e20, 1e21, 9.999999e20, 1e-6, 1e-7, 9.9e-7, 123456789, 16777217,
			math.MaxFloat32, -math.MaxFloat32, math.MaxFloat64, math.SmallestNonzeroFloat32, math.SmallestNonzeroFloat64,
			2.2250738585072014e-308, 1<<53, 1<<53+2, 1<<63, 3.4028236e38, 1.7976931348623157e308)
	case 1:
		return pick(t, math.NaN(), math.Inf(1), math.Inf(-1))
	case 2:
		return float64(t.int64())
	case 3:
		return float64(t.n(1000)) / float64(1+t.n(1000))
	default:
		return math.Float64frombits(t.uint64())
	}
}

// text returns a valid UTF-8 string.
func (t *tape) text() string {
	switch t.n(5) {
	case 0:
		return pick(t, "", "a", "hello", "with space", "\"", "\\", "\n\r\t\b\f", "\x00", "\x1f\x7f", "</script>&<>", "é", "世界", "😀",
			"\u2028\u2029", "\ufeff", "\ufffd", "𝄞 clef", "null", "true", "0", "-1", "NaN", "foo_bar.baz", "fooBar", "2006-01-02T15:04:05Z",
			"1.5s", "type.googleapis.com/google.protobuf.Duration", "a\"b\\c/d", "aaaaaaa\"", "aaaaaaaa\"", "aaaaaaaaaaaaaaa\\", "aaaaaaaé", "aaaaaaaaé")
	case 1:
		return strings.Repeat(pick(t, "x", "ab", "é", "\\", "\"", "世", "😀", "\x01"), t.n(70))
	case 2:
		return strings.Repeat("y", t.n(40)) + pick(t, "\n", "\"", "ü", "😀", "\x1f") + strings.Repeat("z", t.n(20))
	default:
		var b strings.Builder
		for range t.few() * 3 {
			b.WriteRune(pick(t, rune('a'+t.n(26)), rune('A'+t.n(26)), '_', '.', '-', rune(t.n(128)), rune(t.n(0x800)), rune(0x10000+t.n(0x1000))))
		}
		return b.String()
	}
}

// badText returns a string that is not valid UTF-8.
func (t *tape) badText() string {
	return strings.Repeat("p", t.n(20)) +
		pick(t, "\x80", "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x9f\x98", "\xf8\x88\x80\x80\x80") +
		strings.Repeat("q", t.n(10))
}

// maskPath returns a path of a FieldMask in lower case with underscores. Some paths change on the
// way to camel case and back.
func (t *tape) maskPath() string {
	return pick(t, "", "a", "foo", "foo_bar", "foo.bar_baz", "a_b.c_d", "foo_1", "foo_", "_foo", "fooBar", "foo__bar", "foo_3_bar", "Foo", "é", "foo.", ".", "a1_b2", "foo bar", "foo,bar", "f_o_o", "9", "foo-bar")
}

// timestamp returns seconds and nanoseconds, mostly of a valid Timestamp.
func (t *tape) timestamp() (seconds, nanos int64) {
	switch t.n(3) {
	case 0:
		seconds = pick[int64](t, 0, 1, -1, 253402300799, 253402300800, -62135596800, -62135596801, 951782400, 951868799, 4107542400, 1<<63-1, -1<<63)
	case 1:
		seconds = int64(t.uint64()%(253402300800+62135596800)) - 62135596800
	default:
		seconds = int64(t.n(1<<16)) * 86400
	}
	return seconds, t.nanos()
}

func (t *tape) nanos() int64 {
	switch t.n(4) {
	case 0:
		return pick[int64](t, 0, 1, 10, 100, 1000, 1_000_000, 10_000_000, 999_999_999, 1_000_000_000, -1, -999_999_999, -1_000_000_000, 120_000, 123_456_000)
	case 1:
		return int64(t.n(1000)) * 1_000_000
	case 2:
		return int64(t.uint64() % 1_000_000_000)
	default:
		return 0
	}
}

// duration returns seconds and nanoseconds, mostly of a valid Duration.
func (t *tape) duration() (seconds, nanos int64) {
	switch t.n(3) {
	case 0:
		seconds = pick[int64](t, 0, 1, -1, 315576000000, -315576000000, 315576000001, -315576000001, 1<<63-1, -1<<63)
	case 1:
		seconds = int64(t.n(1 << 16))
	default:
		seconds = int64(t.uint64()%(2*315576000000)) - 315576000000
	}
	nanos = t.nanos()
	if seconds < 0 && !t.oneIn(8) {
		nanos = -nanos
	}
	return seconds, nanos
}
