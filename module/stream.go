package module

import (
	"fmt"
	"path"
	"regexp"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Stream says how streams go over plain HTTP. docs/http.md says what clients see of it.
type Stream struct {
	// The quiet time after which the gateway sends a sign of life on a stream: a comment on an
	// event stream, a ping on a WebSocket, and with `heartbeat_lines` a line break on the others.
	// It keeps proxies and load balancers from closing the connection, so it must be shorter than
	// their idle timeouts. After the same time the response header is sent, even if the service has
	// sent neither its header nor a message. Default: 15s. Negative: neither happens.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// Whether NDJSON and JSON array streams have heartbeats, too. A heartbeat is an empty line.
	// JSON allows it, but a client that parses each line of NDJSON must skip empty lines. Default:
	// false.
	HeartbeatLines bool `json:"heartbeat_lines,omitempty"`

	// The form of streams that are neither event streams nor WebSockets. `bare` (default) is what
	// `Accept` chooses: messages as NDJSON, or a JSON array. `result` is that of grpc-gateway:
	// lines `{"result":<message>}` of the type application/json, and `{"error":<Status>}` for a
	// failure.
	Lines string `json:"lines,omitempty"`

	// The ids of the events of an event stream. `count` (default) numbers the messages and
	// continues after the number in `Last-Event-ID`. `off` leaves ids out. An error together with
	// `event_id_field`.
	EventID string `json:"event_id,omitempty"`

	// The response field that has the id of an event, in place of a count. It is the path of a
	// string or an integer by .proto names, such as `cursor` or `meta.revision`. An event has no id
	// if its message does not have the field, if the field is not set, or if its text is not
	// printable ASCII. An error together with `event_id`. Default: none.
	EventIDField string `json:"event_id_field,omitempty"`

	// Whether an event stream that succeeded ends with `event: end`, so that a page can tell it
	// from a lost connection. Default: false.
	EndEvent bool `json:"end_event,omitempty"`

	// Whether methods can be called over WebSocket. Default: true. To everything in front of this
	// handler, a WebSocket handshake is a GET, even if the route is a POST. So matchers by HTTP
	// method let it through.
	WebSocket *bool `json:"websocket,omitempty"`

	// Whether a WebSocket can call every unary method. Default: false. Then it can call only those
	// that are bound to GET. It can always call streaming methods, even if they are bound to
	// another HTTP method.
	WebSocketUnary bool `json:"websocket_unary,omitempty"`

	// The hosts of other sites whose pages may open a WebSocket here, in addition to the origins in
	// `cors`: `app.example.com`, `*.example.com`, `localhost:*`. Write the port unless it is the
	// default of the scheme. Pages of the called host are always allowed. Other pages get 403,
	// because a browser would send a visitor's cookies for them. Clients that are not browsers send
	// no origin and are not affected. Default: none.
	WebSocketOrigins []string `json:"websocket_origins,omitempty"`

	// How long streams may go on when the server stops. After that they end with the error
	// UNAVAILABLE. More than the `drain_timeout` of their upstream has no effect. A reload of the
	// config never ends a stream. Default: 0, at once.
	CloseDelay caddy.Duration `json:"close_delay,omitempty"`
}

// Values of Stream.Lines.
const (
	linesBare   = "bare"
	linesResult = "result"
)

// Validate says what is wrong with the options.
func (s *Stream) Validate() error {
	if s == nil {
		return nil
	}
	for _, pattern := range s.WebSocketOrigins {
		if err := ValidateWebSocketOrigin(pattern); err != nil {
			return fmt.Errorf("websocket_origins: %w", err)
		}
	}
	if !oneOf(s.Lines, linesBare, linesResult) {
		return fmt.Errorf("lines %q: expected bare or result", s.Lines)
	}
	switch s.EventID {
	case "", "count", "off":
	default:
		return fmt.Errorf("event_id %q: expected count or off", s.EventID)
	}
	if s.EventIDField != "" {
		if s.EventID != "" {
			return fmt.Errorf("event_id %s and event_id_field %s: expected one of them", s.EventID, s.EventIDField)
		}
		if err := ValidateEventIDField(s.EventIDField); err != nil {
			return fmt.Errorf("event_id_field: %w", err)
		}
	}
	if s.CloseDelay < 0 {
		return fmt.Errorf("close_delay %s: expected a duration of 0 or more", time.Duration(s.CloseDelay))
	}
	return nil
}

// ValidateWebSocketOrigin says what is wrong with a pattern of Stream.WebSocketOrigins.
func ValidateWebSocketOrigin(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" || path.Base(pattern) != pattern {
		return fmt.Errorf("%q: expected a host without a scheme, such as app.example.com, *.example.com or localhost:3000",
			pattern)
	}
	return nil
}

// fieldPath is the path of a field by .proto names.
var fieldPath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// ValidateEventIDField says what is wrong with a path for Stream.EventIDField.
func ValidateEventIDField(path string) error {
	if !fieldPath.MatchString(path) {
		return fmt.Errorf("%q: expected the path of a field, such as cursor or meta.revision", path)
	}
	return nil
}

// apply sets the options of the protocols.
func (s *Stream) apply(opts *frontend.Options) {
	if s == nil {
		return
	}
	opts.Heartbeat = time.Duration(s.Heartbeat)
	opts.ResultLines = s.Lines == linesResult
	opts.HeartbeatLines = s.HeartbeatLines
	opts.NoEventIDs = s.EventID == "off"
	opts.EventIDField = s.EventIDField
	opts.EndEvent = s.EndEvent
	opts.NoWebSocket = s.WebSocket != nil && !*s.WebSocket
	opts.WebSocketUnary = s.WebSocketUnary
	opts.WebSocketOrigins = s.WebSocketOrigins
	opts.CloseDelay = time.Duration(s.CloseDelay)
}
