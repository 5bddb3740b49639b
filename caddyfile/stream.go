package caddyfile

import "github.com/caddy-grpc/gateway/module"

// stream parses
//
//	stream {
//		heartbeat   <duration> | off
//		websocket   on | off
//		websocket_unary on | off
//		websocket_origins <host pattern>...
//		close_delay <duration>
//	}
func (p *directive) stream(d *dispenser) error {
	if _, err := args(d, 0, 0, "a block"); err != nil {
		return err
	}
	s := new(module.Stream)
	p.handler.Stream = s
	return options{
		"heartbeat":         timeout(&s.Heartbeat),
		"websocket":         onOff(&s.WebSocket),
		"websocket_unary":   toggle(&s.WebSocketUnary),
		"websocket_origins": hosts(&s.WebSocketOrigins),
		"close_delay":       duration(&s.CloseDelay),
	}.parse(d, "stream", "websocket_origins")
}

// hosts is an option with the hosts of pages that may open a WebSocket.
func hosts(to *[]string) option {
	return func(d *dispenser) error {
		got, err := args(d, 1, anyNumber, "at least one host, such as app.example.com")
		if err != nil {
			return err
		}
		for _, pattern := range got {
			if err := module.ValidateWebSocketOrigin(pattern); err != nil {
				return d.Errf("websocket_origins %w", err)
			}
		}
		*to = append(*to, got...)
		return nil
	}
}
