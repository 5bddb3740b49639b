package transcode

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// wantTimestamp returns what package time writes for a Timestamp, with 0, 3, 6 or 9 digits of a
// second.
func wantTimestamp(seconds int64, nanos int32) string {
	text := time.Unix(seconds, int64(nanos)).UTC().Format("2006-01-02T15:04:05.000000000")
	for range 2 {
		text = strings.TrimSuffix(text, "000")
	}
	return `"` + strings.TrimSuffix(text, ".000") + `Z"`
}

func TestTimestampsAreWrittenAndReadAsPackageTimeDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	check := func(seconds int64, nanos int32) {
		t.Helper()
		want := wantTimestamp(seconds, nanos)
		got := string(appendTimestamp(nil, seconds, nanos))
		if got != want {
			t.Fatalf("%d, %d: wrote %s, want %s", seconds, nanos, got, want)
		}
		s, n, ok := parseUTC([]byte(want[1 : len(want)-1]))
		if !ok || s != seconds || n != nanos {
			t.Fatalf("%s: read %d, %d, %v, want %d, %d", want, s, n, ok, seconds, nanos)
		}
	}
	for _, seconds := range []int64{minTimestamp, minTimestamp + 1, -1, 0, 1, 951782399, 951782400, 951868800, 4107542399, 4107542400, maxTimestamp - 1, maxTimestamp} {
		for _, nanos := range []int32{0, 1, 10, 1000, 1_000_000, 100_000_000, 120_000_000, 123_456_000, 999_999_999} {
			check(seconds, nanos)
		}
	}
	for range 50_000 {
		check(minTimestamp+rng.Int64N(maxTimestamp-minTimestamp+1), int32(rng.IntN(1e9)))
	}
}

func TestParseTimestamp(t *testing.T) {
	for _, tt := range []struct {
		text    string
		seconds int64
		nanos   int32
		ok      bool
	}{
		{"1970-01-01T00:00:00Z", 0, 0, true},
		{"1970-01-01T00:00:00.5Z", 0, 500_000_000, true},
		{"1970-01-01T00:00:00.123456789Z", 0, 123_456_789, true},
		{"1970-01-01T01:30:00+01:30", 0, 0, true},
		{"1969-12-31T23:59:59-00:00", -1, 0, true},
		// Package time reads an hour of one digit, and so does protojson.
		{"1970-01-01T0:00:00Z", 0, 0, true},
		{"1970-01-01T00:00:00,5Z", 0, 500_000_000, true},
		{"0001-01-01T00:00:00Z", minTimestamp, 0, true},
		{"9999-12-31T23:59:59.999999999Z", maxTimestamp, 999_999_999, true},
		{"2000-02-29T00:00:00Z", 951782400, 0, true},
		{"1900-02-29T00:00:00Z", 0, 0, false},
		{"2001-02-29T00:00:00Z", 0, 0, false},
		{"2001-04-31T00:00:00Z", 0, 0, false},
		{"2001-00-01T00:00:00Z", 0, 0, false},
		{"2001-13-01T00:00:00Z", 0, 0, false},
		{"2001-01-01T24:00:00Z", 0, 0, false},
		{"2001-01-01T00:60:00Z", 0, 0, false},
		{"2001-01-01T00:00:60Z", 0, 0, false},
		{"0000-12-31T23:59:59Z", 0, 0, false},
		{"9999-12-31T23:59:59-01:00", 0, 0, false},
		{"1970-01-01T00:00:00.1234567890Z", 0, 0, false},
		{"1970-01-01T00:00:00.Z", 0, 0, false},
		{"1970-01-01T00:00:00", 0, 0, false},
		{"1970-01-01 00:00:00Z", 0, 0, false},
		{"1970-01-01t00:00:00z", 0, 0, false},
		{"1970/01/01T00:00:00Z", 0, 0, false},
		{"197a-01-01T00:00:00Z", 0, 0, false},
		{"", 0, 0, false},
	} {
		seconds, nanos, ok := parseTimestamp([]byte(tt.text))
		if ok != tt.ok || ok && (seconds != tt.seconds || nanos != tt.nanos) {
			t.Errorf("%q: got %d, %d, %v", tt.text, seconds, nanos, ok)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, tt := range []struct {
		text    string
		seconds int64
		nanos   int32
		ok      bool
	}{
		{"0s", 0, 0, true},
		{"1s", 1, 0, true},
		{"+1s", 1, 0, true},
		{"-1s", -1, 0, true},
		{"1.5s", 1, 500_000_000, true},
		{"-1.5s", -1, -500_000_000, true},
		{"-0.5s", 0, -500_000_000, true},
		{".5s", 0, 500_000_000, true},
		{"1.s", 1, 0, true},
		{".s", 0, 0, true}, // protojson reads it
		{"0.000000001s", 0, 1, true},
		{"0.0000000001s", 0, 0, false},
		{"315576000000s", maxDuration, 0, true},
		{"-315576000000s", -maxDuration, 0, true},
		{"315576000001s", 0, 0, false},
		{"9999999999999999999s", 0, 0, false},
		{"01s", 0, 0, false},
		{"1", 0, 0, false},
		{"s", 0, 0, false},
		{"-s", 0, 0, false},
		{"1m", 0, 0, false},
		{"1e3s", 0, 0, false},
		{" 1s", 0, 0, false},
		{"", 0, 0, false},
	} {
		seconds, nanos, ok := parseDuration([]byte(tt.text))
		if ok != tt.ok || ok && (seconds != tt.seconds || nanos != tt.nanos) {
			t.Errorf("%q: got %d, %d, %v", tt.text, seconds, nanos, ok)
		}
	}
}

func TestAppendDuration(t *testing.T) {
	for _, tt := range []struct {
		seconds int64
		nanos   int32
		want    string
	}{
		{0, 0, "0s"}, {1, 0, "1s"}, {-1, 0, "-1s"}, {0, 1, "0.000000001s"}, {0, -1, "-0.000000001s"},
		{-1, -500_000_000, "-1.500s"}, {1, 20_000_000, "1.020s"}, {1, 2000, "1.000002s"}, {maxDuration, 999_999_999, "315576000000.999999999s"},
	} {
		if got, want := string(appendDuration(nil, tt.seconds, tt.nanos)), fmt.Sprintf("%q", tt.want); got != want {
			t.Errorf("%d, %d: wrote %s, want %s", tt.seconds, tt.nanos, got, want)
		}
	}
}
