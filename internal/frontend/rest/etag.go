package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// notModified sets the ETag of the answer to a GET or HEAD, and reports whether the client has that
// answer already. An ETag that the service has sent is kept. Otherwise the ETag is a hash of the
// body. It is strong: equal tags mean equal bytes.
func (x *exchange) notModified(h http.Header, body []byte) bool {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return false
	}
	tag := h.Get("ETag")
	if tag == "" {
		sum := sha256.Sum256(body)
		tag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
		h["Etag"] = []string{tag}
	}
	return matchesTag(x.r.Header["If-None-Match"], tag)
}

// matchesTag implements the weak comparison that If-None-Match asks for (RFC 9110, section 13.1.2).
func matchesTag(lines []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range lines {
		if strings.TrimSpace(line) == "*" {
			return true
		}
		for line != "" {
			line = strings.TrimLeft(line, " \t,")
			line = strings.TrimPrefix(line, "W/")
			if line == "" || line[0] != '"' {
				break
			}
			end := strings.IndexByte(line[1:], '"')
			if end < 0 {
				break
			}
			if line[:end+2] == tag {
				return true
			}
			line = line[end+2:]
		}
	}
	return false
}
