package frontend

import (
	"io"
	"net/http"
	"time"
)

// lingerTime is how long Linger waits for a client that goes on sending.
const lingerTime = 2 * time.Second

// Linger is called when a request is answered whose body was left unread. The answer goes out at
// once. Then what the client still sends is discarded, until it has seen the answer and closes the
// connection, or for two seconds. Without this the connection would be closed under a client that
// still sends. Its kernel would be told that the connection was reset, and might drop the answer
// before the client has read it (RFC 9112, section 9.6).
//
// It does nothing unless the connection is an HTTP/1.1 one that is closed after this answer. Nor
// does it wait after an answer without a Content-Length: its end goes out only once the handler
// returns.
func Linger(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.ProtoMajor != 1 || r.ContentLength == 0 || h.Get("Connection") != "close" || h.Get("Content-Length") == "" {
		return
	}
	rc := http.NewResponseController(w)
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // The client has its answer: how this ends does not matter.
}
