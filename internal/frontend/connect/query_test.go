package connect

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
)

// What a client encodes is what is read, however it is encoded; and no query is taken that lacks
// what is required.
func FuzzQuery(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "connect=v1&encoding=json&message=%7B%7D", false, false)
	f.Add([]byte{0xff, 0}, "encoding=proto&base64=1&message=AA&compression=gzip", true, true)
	f.Fuzz(func(t *testing.T, message []byte, raw string, padded, standard bool) {
		if q, err := parseQuery(raw); err == nil {
			values, _ := url.ParseQuery(raw)
			if len(values["message"]) != 1 || q.json == (values.Get("encoding") == "proto") || len(q.message) > len(raw) {
				t.Errorf("%q was read as %+v", raw, q)
			}
		}
		enc := map[[2]bool]*base64.Encoding{
			{false, false}: base64.RawURLEncoding, {true, false}: base64.URLEncoding,
			{false, true}: base64.RawStdEncoding, {true, true}: base64.StdEncoding,
		}[[2]bool{padded, standard}]
		values := url.Values{"connect": {"v1"}, "encoding": {"proto"}, "base64": {"1"}, "compression": {"gzip"}, "message": {enc.EncodeToString(message)}}
		q, err := parseQuery(values.Encode())
		if err != nil || !bytes.Equal(q.message, message) || q.coding != envelope.Gzip || q.json {
			t.Errorf("%x was read as %+v, %v", message, q, err)
		}
	})
}
