package module_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// outcome is what the client of a call has seen, whatever its protocol.
type outcome struct {
	code    codes.Code
	message string
	header  http.Header
}

// callWay is one way to call a method.
type callWay struct {
	protocol string // {http.grpc_gateway.protocol}
	method   string
	call     func(t *testing.T, s *site) outcome
}

const (
	unaryName  = "gateway.test.v1.Echo/Unary"
	streamName = "gateway.test.v1.Echo/ServerStream"
)

// callWays are all ways in which methods can be called.
func callWays() map[string]callWay {
	return map[string]callWay{
		"REST route": {"rest", unaryName, func(_ *testing.T, s *site) outcome { return ofREST(s.get("/v1/echo/x")) }},
		"REST by name": {"rest", unaryName, func(_ *testing.T, s *site) outcome {
			return ofREST(s.do("POST", "/"+unaryName, `{"text":"x"}`))
		}},
		"REST stream": {"rest", streamName, func(_ *testing.T, s *site) outcome { return ofREST(s.get("/v1/stream/2")) }},
		"REST upload": {"rest", "gateway.test.v1.Echo/ClientStream", func(_ *testing.T, s *site) outcome {
			return ofREST(s.post("/v1/collect", "application/x-ndjson", "{}\n{}\n"))
		}},
		"WebSocket": {"rest", "gateway.test.v1.Echo/Bidi", byWebSocket},
		"Connect POST": {"connect", unaryName, func(_ *testing.T, s *site) outcome {
			return ofConnect(s.post("/"+unaryName, "application/json", `{}`, "Connect-Protocol-Version", "1"))
		}},
		"Connect POST binary": {"connect", unaryName, func(_ *testing.T, s *site) outcome {
			return ofConnect(s.post("/"+unaryName, "application/proto", ""))
		}},
		"Connect GET": {"connect", "gateway.test.v1.Library/GetBook", func(_ *testing.T, s *site) outcome {
			query := url.Values{"encoding": {"json"}, "message": {`{"name":"shelves/1/books/1"}`}}
			return ofConnect(s.get("/gateway.test.v1.Library/GetBook?" + query.Encode()))
		}},
		"Connect stream": {"connect", streamName, func(t *testing.T, s *site) outcome {
			got := s.post("/"+streamName, "application/connect+json", enveloped(`{"count":2}`))
			return ofConnectStream(t, got)
		}},
		"gRPC-Web": {"grpcweb", unaryName, func(t *testing.T, s *site) outcome {
			return ofGRPCWeb(t, s.post("/"+unaryName, "application/grpc-web+proto", enveloped("")))
		}},
		"gRPC-Web text": {"grpcweb", unaryName, func(t *testing.T, s *site) outcome {
			got := s.post("/"+unaryName, "application/grpc-web-text", base64.StdEncoding.EncodeToString([]byte(enveloped(""))))
			raw, err := base64.StdEncoding.DecodeString(got.body)
			if err != nil {
				t.Errorf("not base64: %q", got.body)
			}
			got.body = string(raw)
			return ofGRPCWeb(t, got)
		}},
		"gRPC": {"grpc", unaryName, func(t *testing.T, s *site) outcome {
			var header metadata.MD
			_, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{}, grpc.Header(&header))
			return ofGRPC(header, err)
		}},
		"gRPC stream": {"grpc", "gateway.test.v1.Echo/Bidi", func(t *testing.T, s *site) outcome {
			stream, err := testpb.NewEchoClient(s.dial()).Bidi(bounded(t))
			if err != nil {
				return ofGRPC(nil, err)
			}
			_ = stream.Send(&testpb.EchoRequest{})
			_ = stream.CloseSend()
			_, err = stream.Recv()
			header, _ := stream.Header()
			return ofGRPC(header, err)
		}},
		"gRPC without a schema": {"grpc", "gateway.test.v1.Echo/New", func(t *testing.T, s *site) outcome {
			var header metadata.MD
			err := s.dial().Invoke(bounded(t), "/gateway.test.v1.Echo/New", &testpb.EchoRequest{}, &testpb.EchoResponse{}, grpc.Header(&header))
			return ofGRPC(header, err)
		}},
		"health": {"grpc", "grpc.health.v1.Health/Check", func(t *testing.T, s *site) outcome {
			var header metadata.MD
			_, err := healthpb.NewHealthClient(s.dial()).Check(bounded(t), &healthpb.HealthCheckRequest{}, grpc.Header(&header))
			return ofGRPC(header, err)
		}},
		"reflection": {"grpc", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo", func(t *testing.T, s *site) outcome {
			stream, err := reflectionv1.NewServerReflectionClient(s.dial()).ServerReflectionInfo(bounded(t))
			if err != nil {
				return ofGRPC(nil, err)
			}
			_ = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
			_, err = stream.Recv()
			_ = stream.CloseSend()
			header, _ := stream.Header()
			return ofGRPC(header, err)
		}},
	}
}

// enveloped is a message in the envelope of gRPC and Connect streams.
func enveloped(msg string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg)))) + msg
}

func ofREST(a answer) outcome {
	o := outcome{header: a.header}
	if a.status != http.StatusOK {
		o.code = codes.Code(999) // not a google.rpc.Status
		if n, ok := a.field("code").(float64); ok {
			o.code = codes.Code(n)
		}
		o.message, _ = a.field("message").(string)
	}
	return o
}

func ofConnect(a answer) outcome {
	o := outcome{header: a.header}
	if a.status != http.StatusOK {
		o.code = connectCode(a.field("code"))
		o.message, _ = a.field("message").(string)
	}
	return o
}

func connectCode(name any) codes.Code {
	var code codes.Code
	text, _ := name.(string)
	if code.UnmarshalJSON([]byte(strconv.Quote(strings.ToUpper(text)))) != nil {
		return codes.Code(999)
	}
	return code
}

// ofConnectStream reads the last envelope of a stream.
func ofConnectStream(t *testing.T, a answer) outcome {
	o := outcome{header: a.header, code: codes.Code(999)}
	for rest := []byte(a.body); len(rest) >= 5; {
		size := int(binary.BigEndian.Uint32(rest[1:]))
		if len(rest) < 5+size {
			break
		}
		if rest[0]&2 != 0 {
			var end struct {
				Error *struct{ Code, Message string }
			}
			if err := json.Unmarshal(rest[5:5+size], &end); err != nil {
				t.Errorf("the end of a stream: %v", err)
			}
			o.code = codes.OK
			if end.Error != nil {
				o.code, o.message = connectCode(end.Error.Code), end.Error.Message
			}
		}
		rest = rest[5+size:]
	}
	return o
}

var (
	webStatus  = regexp.MustCompile(`grpc-status: (\d+)(\r\n|$)`)
	webMessage = regexp.MustCompile(`grpc-message: ([^\r]*)(\r\n|$)`)
)

func ofGRPCWeb(t *testing.T, a answer) outcome {
	o := outcome{header: a.header, code: codes.Code(999)}
	if m := webStatus.FindStringSubmatch(a.body); m != nil {
		n, _ := strconv.Atoi(m[1])
		o.code = codes.Code(n)
	} else {
		t.Errorf("no status: %q", a.body)
	}
	if m := webMessage.FindStringSubmatch(a.body); m != nil {
		o.message = m[1]
	}
	return o
}

func ofGRPC(md metadata.MD, err error) outcome {
	o := outcome{code: status.Code(err), header: http.Header{}}
	if err != nil {
		o.message = status.Convert(err).Message()
	}
	for name, values := range md {
		for _, v := range values {
			o.header.Add(name, v)
		}
	}
	return o
}

// byWebSocket opens a WebSocket and sends one message.
func byWebSocket(t *testing.T, s *site) outcome {
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/v1/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		req.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		raw, _ := io.ReadAll(resp.Body)
		return ofREST(answer{status: resp.StatusCode, header: resp.Header, body: string(raw)})
	}
	conn, ok := resp.Body.(io.ReadWriter)
	if !ok {
		t.Fatal("the connection cannot be written to")
	}
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '{', '}'}); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(conn, head); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if !bytes.Equal(head[:1], []byte{0x81}) {
		t.Errorf("not a text frame: %x", head)
	}
	return outcome{header: resp.Header}
}
