package module

import (
	"fmt"
	"path"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Stream says how streams go over plain HTTP. docs/http.md has what clients see of it.
type Stream struct {
	// How long a stream may be quiet before a sign of life goes out: a comment on an event stream, a ping on a WebSocket. It
	// keeps proxies and load balancers from closing the connection, so it has to be shorter than their idle timeouts.
	// Default: 15s. Negative: none.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// Whether methods can be called over WebSocket. Default: true. A WebSocket handshake is a GET to
	// everything in front of this handler, even if the route is a POST: matchers by HTTP method let
	// it through.
	WebSocket *bool `json:"websocket,omitempty"`

	// Whether a WebSocket can call every unary method. Default: false, only those bound to GET.
	// Streaming methods can always be called, whatever HTTP method they are bound to.
	WebSocketUnary bool `json:"websocket_unary,omitempty"`

	// Hosts of other sites whose pages may open a WebSocket here, besides the origins in `cors`:
	// `app.example.com`, `*.example.com`, `localhost:*`. A port is written unless it is the default
	// of the scheme. Pages of the host that is called always may. Other pages are refused with 403,
	// because a browser would send them a visitor's cookies. Clients that are not browsers send no
	// origin and are not affected. Default: none.
	WebSocketOrigins []string `json:"websocket_origins,omitempty"`

	// How long streams may go on when the server stops, before they end with an error UNAVAILABLE. Default: 0, at once. More
	// than the `drain_timeout` of their upstream has no effect. A reload of the config never ends a stream.
	CloseDelay caddy.Duration `json:"close_delay,omitempty"`
}

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
	if s.CloseDelay < 0 {
		return fmt.Errorf("close_delay %s: expected a duration of 0 or more", time.Duration(s.CloseDelay))
	}
	return nil
}

// ValidateWebSocketOrigin says what is wrong with a pattern of Stream.WebSocketOrigins.
func ValidateWebSocketOrigin(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" || path.Base(pattern) != pattern {
		return fmt.Errorf("%q: expected a host without a scheme, such as app.example.com, *.example.com or localhost:3000", pattern)
	}
	return nil
}

// apply sets the options in those of the protocols.
func (s *Stream) apply(opts *frontend.Options) {
	if s == nil {
		return
	}
	opts.Heartbeat = time.Duration(s.Heartbeat)
	opts.NoWebSocket = s.WebSocket != nil && !*s.WebSocket
	opts.WebSocketUnary = s.WebSocketUnary
	opts.WebSocketOrigins = s.WebSocketOrigins
	opts.CloseDelay = time.Duration(s.CloseDelay)
}
