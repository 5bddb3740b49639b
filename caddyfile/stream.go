package caddyfile

import (
	"strings"

	"github.com/caddy-grpc/gateway/module"
)

// stream parses
//
//	stream {
//		heartbeat   <duration> | off
//		heartbeat_lines on | off
//		lines       bare | result
//		event_id    count | off | field <path>
//		end_event   on | off
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
		"heartbeat_lines":   toggle(&s.HeartbeatLines),
		"lines":             choice(&s.Lines, "bare", "result"),
		"event_id":          eventID(s),
		"end_event":         toggle(&s.EndEvent),
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

// eventID is the option for the source of the ids of events.
func eventID(s *module.Stream) option {
	return func(d *dispenser) error {
		const syntax = "count, off or field <path>"
		got, err := args(d, 1, 2, syntax)
		if err != nil {
			return err
		}
		switch field := got[0] == "field"; {
		case field && len(got) == 2:
			if err := module.ValidateEventIDField(got[1]); err != nil {
				return d.Errf("event_id field %w", err)
			}
			s.EventIDField = got[1]
		case !field && len(got) == 1 && (got[0] == "count" || got[0] == "off"):
			s.EventID = got[0]
		default:
			return d.Errf("event_id %q: expected %s", strings.Join(got, " "), syntax)
		}
		return nil
	}
}
