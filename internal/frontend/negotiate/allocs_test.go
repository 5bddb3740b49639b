package negotiate

import (
	"net/http"
	"testing"
	"time"
)

func TestOrdinaryInputAllocatesNothing(t *testing.T) {
	accept := []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
	offers := []string{"application/x-ndjson", "text/event-stream", "application/json"}
	encodings := []string{"gzip, deflate, br, zstd"}
	codings := []string{"zstd", "gzip"}
	header := http.Header{"Grpc-Timeout": {"5S"}, "Connect-Timeout-Ms": {"4000"}, "X-Request-Timeout": {"6s"}}
	var buffer [16]byte
	for name, f := range map[string]func(){
		"ParseContentType": func() {
			m, _ := ParseContentType(`application/json; charset="utf-8"`)
			_ = m.UTF8()
		},
		"Accept":            func() { _, _ = Accept(accept, offers) },
		"AcceptEncoding":    func() { _, _ = AcceptEncoding(encodings, codings) },
		"ContentEncoding":   func() { _, _ = ContentEncoding(codings[1:], codings) },
		"Timeout":           func() { _, _, _ = Timeout(header) },
		"AppendGrpcTimeout": func() { _ = AppendGrpcTimeout(buffer[:0], 5*time.Second) },
		"EncodeMessage":     func() { _ = EncodeMessage("user 7 was not found") },
		"DecodeMessage":     func() { _ = DecodeMessage("user 7 was not found") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
