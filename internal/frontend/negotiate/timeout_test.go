package negotiate

import (
	"errors"
	"math"
	"net/http"
	"regexp"
	"testing"
	"time"
)

func TestParseTimeouts(t *testing.T) {
	const bad = time.Duration(-1)
	tests := []struct {
		name  string
		parse func(string) (time.Duration, error)
		cases map[string]time.Duration
	}{
		{"Grpc-Timeout", ParseGrpcTimeout, map[string]time.Duration{
			"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second,
			"4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
			"0n": 0, "00000001S": time.Second, "99999999m": 99999999 * time.Millisecond,
			"2562047H": 2562047 * time.Hour, "2562048H": math.MaxInt64, "99999999H": math.MaxInt64,
			"": bad, "1": bad, "m": bad, "1s": bad, "1h": bad, "1ms": bad, "-1m": bad, "+1m": bad, "1.5S": bad, " 1S": bad, "1S ": bad, "1 S": bad,
			"100000000n": bad, "000000001S": bad, "0x1S": bad, "1_0S": bad, "\u0661S": bad, "1\u00b5": bad,
		}},
		{"Connect-Timeout-Ms", ParseConnectTimeout, map[string]time.Duration{
			"1": 2*time.Millisecond - 1, "1500": 1501*time.Millisecond - 1, "0": 0,
			"9999999999": 10000000000*time.Millisecond - 1, "0000000001": 2*time.Millisecond - 1,
			"": bad, "-1": bad, "+1": bad, "1.5": bad, "1s": bad, "1e3": bad, "1 0": bad, "10000000000": bad, "00000000001": bad,
		}},
		{"X-Request-Timeout", ParseRequestTimeout, map[string]time.Duration{
			"1s": time.Second, "1.5s": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond, "1m30s": 90 * time.Second,
			"0": 0, "0s": 0, "3.000000001s": 3*time.Second + 1, "1h": time.Hour, "1\u00b5s": time.Microsecond,
			"": bad, "30": bad, "-1s": bad, "1": bad, "s": bad, "1 s": bad, "1S": bad, "infinity": bad, "10000000000000s": bad,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for value, want := range tt.cases {
				got, err := tt.parse(value)
				if want != bad {
					if got != want || err != nil {
						t.Errorf("%q: %v, %v; want %v", value, got, err, want)
					}
					continue
				}
				var malformed *TimeoutError
				if !errors.As(err, &malformed) {
					t.Errorf("%q: %v, %v; want a *TimeoutError", value, got, err)
				} else if malformed.Header != tt.name || malformed.Value != value || malformed.Reason == "" {
					t.Errorf("%q: %+v", value, malformed)
				}
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		want   time.Duration
		ok     bool
		err    string
	}{
		{"none", http.Header{"Accept": {"*/*"}}, 0, false, ""},
		{"nil", nil, 0, false, ""},
		{"one", http.Header{"Grpc-Timeout": {"5S"}}, 5 * time.Second, true, ""},
		{"zero is there", http.Header{"Connect-Timeout-Ms": {"0"}}, 0, true, ""},
		{"the shortest", http.Header{"Grpc-Timeout": {"5S"}, "Connect-Timeout-Ms": {"4000"}, "X-Request-Timeout": {"6s"}}, 4001*time.Millisecond - 1, true, ""},
		{"empty is malformed", http.Header{"Grpc-Timeout": {""}}, 0, false, `Grpc-Timeout: "": empty`},
		{"one malformed", http.Header{"Grpc-Timeout": {"5S"}, "X-Request-Timeout": {"-1s"}}, 0, false, `X-Request-Timeout: "-1s": negative`},
		{"twice", http.Header{"Connect-Timeout-Ms": {"1", "2"}}, 0, false, `Connect-Timeout-Ms: "1, 2": given more than once`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok, err := Timeout(tt.header)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if got != tt.want || ok != tt.ok || text != tt.err {
				t.Errorf("%v, %v, %q; want %v, %v, %q", got, ok, text, tt.want, tt.ok, tt.err)
			}
		})
	}
}

func TestAppendGrpcTimeout(t *testing.T) {
	for timeout, want := range map[time.Duration]string{
		0: "0n", -1: "0n", math.MinInt64: "0n", 1: "1n",
		time.Microsecond:           "1000n",
		99_999_999:                 "99999999n",
		100_000_000:                "100000u",
		100_000_001:                "100001u", // up, not down
		time.Second:                "1000000u",
		99_999_999*1000 + 1:        "100000m",
		5 * time.Minute:            "300000m",
		24 * time.Hour:             "86400000m",
		99_999_999 * time.Second:   "99999999S",
		99_999_999*time.Second + 1: "1666667M",
		math.MaxInt64:              "2562048H",
	} {
		if got := string(AppendGrpcTimeout([]byte("> "), timeout)); got != "> "+want {
			t.Errorf("AppendGrpcTimeout(%v) = %q, want %q", timeout, got, want)
		}
	}
}

func FuzzTimeouts(f *testing.F) {
	for _, seed := range []string{"1H", "99999999n", "-1m", "1500", "1.5s", "1m30s", ""} {
		f.Add(seed, int64(len(seed))*1e9)
	}
	grpc, connect := regexp.MustCompile(`^[0-9]{1,8}[HMSmun]$`), regexp.MustCompile(`^[0-9]{1,10}$`)
	f.Fuzz(func(t *testing.T, value string, nanoseconds int64) {
		for _, p := range []struct {
			parse func(string) (time.Duration, error)
			valid bool
		}{
			{ParseGrpcTimeout, grpc.MatchString(value)},
			{ParseConnectTimeout, connect.MatchString(value)},
		} {
			if got, err := p.parse(value); (err == nil) != p.valid || got < 0 {
				t.Fatalf("%q: %v, %v; want valid %v", value, got, err, p.valid)
			}
		}
		if got, err := ParseRequestTimeout(value); got < 0 {
			t.Fatalf("%q: %v, %v", value, got, err)
		}
		// What is written is read back, a little longer at most.
		timeout := max(0, time.Duration(nanoseconds))
		text := string(AppendGrpcTimeout(nil, timeout))
		back, err := ParseGrpcTimeout(text)
		if err != nil || back < timeout || back-timeout > max(timeout/1_000_000, 0) {
			t.Fatalf("%v is written %q and read %v, %v", timeout, text, back, err)
		}
	})
}
