package negotiate

import (
	"errors"
	"slices"
	"testing"
)

func TestAcceptEncoding(t *testing.T) {
	tests := []struct {
		name   string
		accept []string
		want   string // empty: not even identity
	}{
		{"no header", nil, "identity"},
		{"empty header", []string{""}, "identity"},
		{"named", []string{"gzip"}, "gzip"},
		{"case", []string{"GZip"}, "gzip"},
		{"the old name", []string{"x-gzip"}, "gzip"},
		{"unknown", []string{"br, deflate"}, "identity"},
		{"the server's order at the same weight", []string{"gzip, deflate, br, zstd"}, "zstd"},
		{"the higher weight", []string{"gzip;q=1.0, zstd;q=0.5"}, "gzip"},
		{"several headers", []string{"br", "gzip"}, "gzip"},
		{"anything", []string{"*"}, "zstd"},
		{"anything but", []string{"zstd;q=0, *"}, "gzip"},
		{"excluded", []string{"gzip;q=0"}, "identity"},
		{"identity is not preferred unless it is said", []string{"gzip;q=0.1"}, "gzip"},
		{"identity preferred", []string{"gzip;q=0.5, identity"}, "identity"},
		{"identity at the same weight", []string{"identity, gzip"}, "gzip"},
		{"identity excluded", []string{"gzip, identity;q=0"}, "gzip"},
		{"identity excluded and nothing else", []string{"identity;q=0"}, ""},
		{"identity excluded with all others", []string{"br, *;q=0"}, ""},
		{"identity named beside what excludes others", []string{"identity;q=0.5, *;q=0"}, "identity"},
		{"malformed elements are ignored", []string{"gzip;q=a, zstd;q, g z i p, ,;q=1, gzip;q=0.1"}, "gzip"},
		{"a list without weights, as gRPC and Connect send it", []string{"identity,deflate,gzip"}, "gzip"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := AcceptEncoding(tt.accept, []string{"zstd", "gzip"})
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("AcceptEncoding(%q) = %q, %v; want %q", tt.accept, got, ok, tt.want)
			}
		})
	}
	if got, ok := AcceptEncoding([]string{"gzip"}, nil); got != Identity || !ok {
		t.Errorf("with nothing offered: %q, %v", got, ok)
	}
}

func TestContentEncoding(t *testing.T) {
	tests := []struct {
		name    string
		content []string
		want    string // empty: an error
	}{
		{"absent", nil, "identity"},
		{"empty", []string{""}, "identity"},
		{"identity", []string{"Identity"}, "identity"},
		{"gzip", []string{"gzip"}, "gzip"},
		{"the old name", []string{"X-GZIP"}, "gzip"},
		{"zstd", []string{" zstd "}, "zstd"},
		{"identity around it says nothing", []string{"identity, gzip", "identity"}, "gzip"},
		{"unknown", []string{"br"}, ""},
		{"one around another", []string{"gzip, zstd"}, ""},
		{"twice the same", []string{"gzip", "gzip"}, ""},
		{"with parameters, which it has not", []string{"gzip;q=1"}, ""},
		{"any is no coding", []string{"*"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ContentEncoding(tt.content, []string{"zstd", "gzip"})
			var unsupported *CodingError
			if got != tt.want || errors.As(err, &unsupported) != (tt.want == "") {
				t.Errorf("ContentEncoding(%q) = %q, %v; want %q", tt.content, got, err, tt.want)
			}
		})
	}
}

// FuzzCodings checks what holds for any header of a client.
func FuzzCodings(f *testing.F) {
	for _, seed := range []string{"gzip, deflate, br, zstd", "identity;q=0, *;q=0", "x-gzip;q=0.5", `gzip;a="b,c"`} {
		f.Add(seed)
	}
	offers := []string{"zstd", "gzip"}
	f.Fuzz(func(t *testing.T, header string) {
		values := []string{header}
		coding, ok := AcceptEncoding(values, offers)
		if ok != (coding == Identity || slices.Contains(offers, coding)) {
			t.Fatalf("AcceptEncoding(%q) = %q, %v", header, coding, ok)
		}
		if quality, _ := weighCoding(values, coding); ok && quality <= 0 {
			t.Fatalf("AcceptEncoding(%q) = %q, which the client excludes", header, coding)
		}
		if coding, err := ContentEncoding(values, offers); err == nil && coding != Identity && !slices.Contains(offers, coding) {
			t.Fatalf("ContentEncoding(%q) = %q", header, coding)
		}
	})
}
