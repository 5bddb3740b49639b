package frontend

import (
	"crypto/tls"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
)

// metadataOf is the metadata that an RPC has for a request.
func metadataOf(t *testing.T, o Options, r *http.Request) (metadata.MD, error) {
	t.Helper()
	pairs, err := o.appendMetadata(nil, r)
	if err != nil {
		return nil, err
	}
	return metadata.Pairs(pairs...), nil
}

func TestForwarded(t *testing.T) {
	for _, tc := range []struct {
		name, remote string
		trusted, tls bool
		want         [3]string // for, host, proto
	}{
		{"a client", "192.0.2.1:5", false, false, [3]string{"192.0.2.1", "h", "http"}},
		{"over TLS", "192.0.2.1:5", false, true, [3]string{"192.0.2.1", "h", "https"}},
		{"IPv6 with a zone", "[fe80::1%eth0]:5", false, false, [3]string{"fe80::1", "h", "http"}},
		{"a trusted proxy", "192.0.2.1:5", true, false, [3]string{"1.1.1.1, 2.2.2.2, 192.0.2.1", "claimed", "claimed-proto"}},
		{"a Unix socket", "@", false, false, [3]string{"", "", ""}},
		{"a trusted Unix socket", "@", true, false, [3]string{"1.1.1.1, 2.2.2.2", "claimed", "claimed-proto"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
			r.RemoteAddr = tc.remote
			if tc.tls {
				r.TLS = &tls.ConnectionState{}
			}
			r.Header = http.Header{"X-Forwarded-For": {"1.1.1.1", "2.2.2.2"}, "X-Forwarded-Host": {"first", "claimed"}, "X-Forwarded-Proto": {"claimed-proto"}}
			o := Options{TrustedProxy: func(*http.Request) bool { return tc.trusted }}.WithDefaults()
			md, err := metadataOf(t, o, r)
			if err != nil {
				t.Fatal(err)
			}
			for i, k := range []string{"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"} {
				if got := strings.Join(md[k], "|"); got != tc.want[i] {
					t.Errorf("%s: got %q, want %q", k, got, tc.want[i])
				}
			}
		})
	}
}

func TestForwardedIsNotWhatAnotherHeaderIsRenamedTo(t *testing.T) {
	rules, err := CompileRequestRules([]Rule{{'+', "x-real-ip", "x-forwarded-for"}})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{RequestMetadata: rules}.WithDefaults()
	for remote, want := range map[string]string{"192.0.2.1:5": "192.0.2.1", "@": "6.6.6.6"} {
		r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
		r.RemoteAddr, r.Header = remote, http.Header{"X-Real-Ip": {"6.6.6.6"}}
		md, err := metadataOf(t, o, r)
		if err != nil {
			t.Fatal(err)
		}
		if got := md["x-forwarded-for"]; !slices.Equal(got, []string{want}) {
			t.Errorf("from %s: got %q, want %q", remote, got, want)
		}
	}
}

func TestMetadataIsMadeWithoutWritingToTheHeader(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
	r.Header = http.Header{"X-A": {"1", "b\xffd", "3"}, "X-B": {"2"}}
	rules, err := CompileRequestRules([]Rule{{'+', "x-b", "x-a"}})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{RequestMetadata: rules}.WithDefaults()
	md, err := metadataOf(t, o, r)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(slices.Values(md["x-a"]))
	if !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("x-a: %q", md["x-a"])
	}
	if !slices.Equal(r.Header["X-A"], []string{"1", "b\xffd", "3"}) || !slices.Equal(r.Header["X-B"], []string{"2"}) {
		t.Errorf("the header was written to: %q", r.Header)
	}
}

func TestHeadersThatConnectionNames(t *testing.T) {
	for _, tc := range []struct {
		name       string
		connection []string
		dropped    string // of x-a, x-b, x-c
	}{
		{"none", nil, ""},
		{"no names", []string{"keep-alive", "Close"}, ""},
		{"one", []string{"x-a"}, "x-a"},
		{"in another case, among others", []string{"keep-alive, X-B ,, upgrade"}, "x-b"},
		{"in several fields", []string{"x-a", "close, x-c"}, "x-a x-c"},
		{"a name that only begins alike", []string{"x-, x-aa"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
			r.Header = http.Header{"X-A": {"1"}, "X-B": {"1"}, "X-C": {"1"}}
			if tc.connection != nil {
				r.Header["Connection"] = tc.connection
			}
			md, err := metadataOf(t, Options{}.WithDefaults(), r)
			if err != nil {
				t.Fatal(err)
			}
			var dropped []string
			for _, name := range []string{"x-a", "x-b", "x-c"} {
				if len(md[name]) == 0 {
					dropped = append(dropped, name)
				}
			}
			if got := strings.Join(dropped, " "); got != tc.dropped {
				t.Errorf("dropped %q, want %q", got, tc.dropped)
			}
		})
	}
}

// TestDropConnectionNames: what a policy sets later is passed on, whatever the client has named.
func TestDropConnectionNames(t *testing.T) {
	for _, tc := range []struct {
		name       string
		connection []string
		kept, left string // the names of the other headers, and what is left of Connection
	}{
		{"none", nil, "content-type te upgrade x-a", ""},
		{"no names", []string{"keep-alive", "Close"}, "content-type te upgrade x-a", "keep-alive|Close"},
		{"one", []string{"x-a"}, "content-type te upgrade", ""},
		{"one that is not there yet", []string{"close, X-USER"}, "content-type te upgrade x-a", "close"},
		{"in several fields", []string{"Upgrade", "x-a,, TE"}, "content-type te upgrade", "Upgrade, TE"},
		{"those of the body", []string{"Content-Type, x-a"}, "content-type te upgrade", "Content-Type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"X-A": {"1"}, "Te": {"trailers"}, "Upgrade": {"websocket"}, "Content-Type": {"application/json"}}
			if tc.connection != nil {
				h["Connection"] = tc.connection
			}
			DropConnectionNames(h)
			if got := strings.Join(h["Connection"], "|"); got != tc.left {
				t.Errorf("Connection is %q, want %q", got, tc.left)
			}
			delete(h, "Connection")
			if got := strings.ToLower(strings.Join(slices.Sorted(maps.Keys(h)), " ")); got != tc.kept {
				t.Errorf("kept %q, want %q", got, tc.kept)
			}
			h.Set("X-User", "alice")
			r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
			r.Header = h
			if md, err := metadataOf(t, Options{}.WithDefaults(), r); err != nil || len(md["x-user"]) != 1 {
				t.Errorf("a header that is set afterwards became %v, %v", md, err)
			}
		})
	}
}

func TestUsualConnectionsAreNotAllocatedFor(t *testing.T) {
	for _, values := range [][]string{nil, {"keep-alive"}, {"close", "Keep-Alive, close"}} {
		if n := testing.AllocsPerRun(100, func() { _ = connectionListed(values) }); n != 0 {
			t.Errorf("%q: %v allocations", values, n)
		}
	}
}

// BenchmarkConnectionNames has many names in Connection and many headers. Its time must grow with
// their sum, not with their product.
func BenchmarkConnectionNames(b *testing.B) {
	for _, n := range []int{1000, 4000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
			for i := range n {
				r.Header["X-"+strconv.Itoa(i)] = []string{"1"}
			}
			r.Header["Connection"] = []string{strings.Repeat("z,", n)}
			o := Options{}.WithDefaults()
			for b.Loop() {
				_, _ = o.appendMetadata(nil, r)
			}
		})
	}
}

func TestWantsTrailers(t *testing.T) {
	for value, want := range map[string]bool{"trailers": true, "gzip;q=0.5, Trailers": true, "trailers;q=1": true, "": false, "gzip": false, "xtrailers": false} {
		if got := WantsTrailers(http.Header{"Te": {value}}); got != want {
			t.Errorf("TE: %s: %v", value, got)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add("X-A", "b", "192.0.2.1:5")
	f.Add("X-Bin", "AP8=", "@")
	f.Add("Cookie", "$Version=1; a=b;;", "[::1%x]:1")
	f.Add("Connection", "x, close", "nonsense")
	f.Fuzz(func(t *testing.T, key, value, remote string) {
		r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
		r.RemoteAddr = remote
		r.Header = http.Header{http.CanonicalHeaderKey(key): {value}, "Connection": {value}}
		o := Options{TrustedProxy: func(*http.Request) bool { return true }}.WithDefaults()
		md, err := metadataOf(t, o, r)
		if err != nil {
			return
		}
		for k, values := range md {
			if k != strings.ToLower(k) || !validKey(k) || refusedRequest(k) || hopByHop(k) {
				t.Errorf("key %q", k)
			}
			for _, v := range values {
				if !strings.HasSuffix(k, "-bin") && !validValue(v) {
					t.Errorf("%s: %q", k, v)
				}
			}
		}
	})
}

func TestMetadataOfOneNameIsVisitedOnce(t *testing.T) {
	rules, err := CompileResponseRules([]Rule{{'+', "x-*", "x-all"}})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{ResponseMetadata: rules}.WithDefaults()
	got := make(map[string][]string)
	o.VisitMetadata(metadata.Pairs("x-a", "1", "x-b", "2", "y", "3"), func(name string, values []string) {
		if _, ok := got[name]; ok {
			t.Errorf("%s comes again", name)
		}
		got[name] = slices.Sorted(slices.Values(values))
	})
	if len(got) != 2 || !slices.Equal(got["X-All"], []string{"1", "2"}) || !slices.Equal(got["Y"], []string{"3"}) {
		t.Errorf("got %q", got)
	}
}

func TestHeadersMakeOnlySoManyValues(t *testing.T) {
	for name, tc := range map[string]struct {
		header http.Header
		ok     bool
	}{
		"as many as are allowed":     {http.Header{"X-Bin": {strings.Repeat(",", 4000)}}, true},
		"a list":                     {http.Header{"X-Bin": {strings.Repeat("AA,", 300_000)}}, false},
		"an empty list":              {http.Header{"X-Bin": {strings.Repeat(",", 800_000)}}, false},
		"several lists of one field": {http.Header{"X-Bin": slices.Repeat([]string{strings.Repeat(",", 100)}, 50)}, false},
		"lists of several fields":    {http.Header{"X-Bin": {strings.Repeat(",", 3000)}, "Y-Bin": {strings.Repeat(",", 3000)}}, false},
		"fields that are not lists":  {http.Header{"X-Tag": slices.Repeat([]string{"a"}, 5000)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = http.Header{}
			for key, values := range tc.header {
				r.Header["Grpc-Metadata-"+key] = values
			}
			rules, err := CompileRequestRules([]Rule{{'+', "grpc-metadata-*", "*"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = metadataOf(t, Options{RequestMetadata: rules}.WithDefaults(), r)
			if tc.ok != (err == nil) || err != nil && AsError(err).HTTP() != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("got %v", err)
			}
		})
	}
}
