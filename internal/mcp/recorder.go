package mcp

import (
	"bytes"
	"net/http"
	"strings"
)

// recorder is a ResponseWriter that keeps an answer. It has no way to the connection of the client.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: make(http.Header)} }

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.code == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		w.code = status
	}
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush implements http.Flusher. The answer is sent as a whole.
func (w *recorder) Flush() { w.WriteHeader(http.StatusOK) }

func (w *recorder) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}

// aboutBody reports whether a header is about a body that is not sent as it is.
func aboutBody(name string) bool {
	switch name {
	case "Accept-Ranges", "Cache-Control", "Connection", "Etag", "Expires", "Last-Modified", "Trailer", "Transfer-Encoding", "Vary":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, http.TrailerPrefix)
}
