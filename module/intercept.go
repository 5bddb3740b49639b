package module

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// emptyMessage is the full name of the message type without fields.
const emptyMessage = "google.protobuf.Empty"

// yield prepares an answer that another handler has buffered, to send it with its own status.
// Caddy's handler intercept does so for replace_status.
//
// That handler sets the length of the body: a status such as 204 allows none. An answer of type
// google.protobuf.Empty loses its body "{}". The handler would write it even for such a status, and
// Caddy would log that as an error of the server.
func yield(w http.ResponseWriter, info *frontend.Info) {
	recorder, ok := w.(caddyhttp.ResponseRecorder)
	if !ok || !recorder.Buffered() {
		return
	}
	header := recorder.Header()
	header.Del("Content-Length")
	if info.Protocol != "rest" || recorder.Status() != http.StatusOK || info.Method == nil || info.Method.Desc == nil {
		return
	}
	if m := info.Method.Desc; !m.IsStreamingServer() && m.Output().FullName() == emptyMessage {
		recorder.Buffer().Reset()
		header.Del("Content-Type")
	}
}
