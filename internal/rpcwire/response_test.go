package rpcwire

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// What the response says becomes the end of the call.
func TestResponses(t *testing.T) {
	const grpc = "application/grpc"
	type frames = []func(*script)
	status := func(code codes.Code, message string) func(r result) string {
		return func(r result) string {
			if got := (Status{code, message}); r.err != nil || r.call.Status() != got {
				return fmt.Sprintf("%v, %v; want the status %v", r.err, r.call.Status(), got)
			}
			return ""
		}
	}
	fails := func(kind Kind, code codes.Code, part string) func(r result) string {
		return func(r result) string {
			e, isError := r.err.(*Error) //nolint:errorlint // it is documented as that
			if !isError || e.Kind != kind || e.Code != code || !strings.Contains(e.Message, part) {
				return fmt.Sprintf("%v; want kind %q, code %s and %q", r.err, kind, code, part)
			}
			return ""
		}
	}
	header := func(fields ...string) func(*script) {
		return headers(1, false, append([]string{":status", "200", "content-type", grpc}, fields...)...)
	}
	only := func(fields ...string) frames {
		return frames{headers(1, true, append([]string{":status", "200", "content-type", grpc}, fields...)...)}
	}
	http := func(status string, fields ...string) frames {
		return frames{headers(1, true, append([]string{":status", status}, fields...)...)}
	}
	ends := func(fields ...string) frames {
		return frames{header(), message(1, "a"), headers(1, true, fields...)}
	}
	tests := []struct {
		name   string
		frames frames
		check  func(r result) string
	}{
		// The status.
		{"OK", ends("grpc-status", "0"), status(codes.OK, "")},
		{"a status with a message", ends("grpc-status", "9", "grpc-message", "plain"), status(codes.FailedPrecondition, "plain")},
		{"a message that is encoded", ends("grpc-status", "9", "grpc-message", "50 %25 of %C3%BCnic%c3%b6de%0Aline"), status(codes.FailedPrecondition, "50 % of ünicöde\nline")},
		{"a message that is encoded wrongly", ends("grpc-status", "9", "grpc-message", "100% %zz %4"), status(codes.FailedPrecondition, "100% %zz %4")},
		{"a code above those of gRPC", ends("grpc-status", "77"), status(77, "")},
		{"a code that is not a number", ends("grpc-status", "x"), fails(KindNotGRPC, codes.Unknown, `grpc-status is "x"`)},
		{"a trailer without a status", ends("a", "b"), status(codes.Unknown, "")},
		{"Trailers-Only", only("grpc-status", "5", "grpc-message", "gone"), status(codes.NotFound, "gone")},
		{"Trailers-Only with OK", only("grpc-status", "0"), fails(KindNotOneMessage, codes.Internal, "no message")},
		{"Trailers-Only without a status", only(), status(codes.Unknown, "")},
		// Messages.
		{"no message", frames{header(), trailer(1, "0")}, fails(KindNotOneMessage, codes.Internal, "no message")},
		{"no message, and a status", frames{header(), trailer(1, "5")}, status(codes.NotFound, "")},
		{"two messages", frames{header(), message(1, "a"), message(1, "b"), trailer(1, "0")}, fails(KindNotOneMessage, codes.Internal, "another message")},
		{"an empty message", frames{header(), message(1, ""), trailer(1, "0")}, func(r result) string {
			if r.err != nil || r.text != "" {
				return fmt.Sprint(r.text, r.err)
			}
			return ""
		}},
		{"half a message", frames{header(), data(1, false, framed("abc")[:6]), trailer(1, "0")}, fails(KindNotGRPC, codes.Internal, "middle of a message")},
		{"half a prefix", frames{header(), data(1, false, []byte{0, 0}), trailer(1, "0")}, fails(KindNotGRPC, codes.Internal, "middle of a message")},
		{"a message and half a prefix", frames{header(), message(1, "a"), data(1, false, []byte{0}), trailer(1, "5")}, fails(KindNotGRPC, codes.Internal, "middle of a message")},
		{"a message that is too large", frames{header(), data(1, false, []byte{0, 0, 0x40, 0, 1})}, fails(KindAnswerTooLarge, codes.ResourceExhausted, "4194305 bytes")},
		{"a flag that does not exist", frames{header(), data(1, false, []byte{2, 0, 0, 0, 0})}, fails(KindNotGRPC, codes.Internal, "0x2")},
		{"a compressed message without encoding", frames{header(), data(1, false, []byte{1, 0, 0, 0, 0})}, fails(KindNotGRPC, codes.Internal, "grpc-encoding")},
		{"a compressed message with identity", frames{header("grpc-encoding", "identity"), data(1, false, []byte{1, 0, 0, 0, 0})}, fails(KindNotGRPC, codes.Internal, "grpc-encoding")},
		{"a compressed message", frames{header("grpc-encoding", "gzip"), data(1, false, []byte{1, 0, 0, 0, 1, 'z'}), trailer(1, "0")}, func(r result) string {
			if r.err != nil || r.text != "z" || r.call.Encoding() != "gzip" {
				return fmt.Sprint(r.text, r.err, r.call.Encoding())
			}
			return ""
		}},
		// The content type.
		{"application/grpc+proto", frames{headers(1, true, ":status", "200", "content-type", "application/grpc+proto", "grpc-status", "5")}, status(codes.NotFound, "")},
		{"application/grpc;charset=utf-8", frames{headers(1, true, ":status", "200", "content-type", "application/grpc;charset=utf-8", "grpc-status", "5")}, status(codes.NotFound, "")},
		{"application/grpc-web", http("200", "content-type", "application/grpc-web", "grpc-status", "5"), fails(KindNotGRPC, codes.Unknown, `content-type "application/grpc-web"`)},
		{"application/json", http("200", "content-type", "application/json"), fails(KindNotGRPC, codes.Unknown, "HTTP status 200")},
		{"no content type", http("200"), fails(KindNotGRPC, codes.Unknown, "HTTP status 200")},
		// HTTP statuses, as doc/http-grpc-status-mapping.md says.
		{"400", http("400"), fails(KindNotGRPC, codes.Internal, "400")},
		{"401", http("401"), fails(KindNotGRPC, codes.Unauthenticated, "401")},
		{"403", http("403"), fails(KindNotGRPC, codes.PermissionDenied, "403")},
		{"404", http("404"), fails(KindNotGRPC, codes.Unimplemented, "404")},
		{"429", http("429"), fails(KindNotGRPC, codes.Unavailable, "429")},
		{"502", http("502"), fails(KindNotGRPC, codes.Unavailable, "502")},
		{"503", http("503"), fails(KindNotGRPC, codes.Unavailable, "503")},
		{"504", http("504"), fails(KindNotGRPC, codes.Unavailable, "504")},
		{"500", http("500"), fails(KindNotGRPC, codes.Unknown, "500")},
		{"a gRPC status wins over the HTTP status", frames{headers(1, true, ":status", "503", "content-type", grpc, "grpc-status", "5")}, status(codes.NotFound, "")},
		{"an error page", frames{headers(1, false, ":status", "503", "content-type", "text/html"), data(1, false, []byte("<h1>")), data(1, true, []byte("sorry"))}, fails(KindNotGRPC, codes.Unavailable, `"<h1>sorry"`)},
		{"an error page that does not end", frames{headers(1, false, ":status", "503"), data(1, false, make([]byte, 2000))}, fails(KindNotGRPC, codes.Unavailable, "body")},
		{"an error page with a trailer", frames{headers(1, false, ":status", "404"), data(1, false, []byte("no")), trailer(1, "0")}, fails(KindNotGRPC, codes.Unimplemented, `"no"`)},
		// Metadata.
		{"metadata", frames{header("a", "1", "b-bin", "AAH/", "a", "2", "user-agent", "x", "te", "dropped", "grpc-timeout", "dropped"), message(1, "a"), trailer(1, "0", "c", "3")}, func(r result) string {
			header, _ := r.call.ResponseHeader()
			want := `[{"content-type" "application/grpc"} {"a" "1"} {"b-bin" "\x00\x01\xff"} {"a" "2"} {"user-agent" "x"}] [{"c" "3"}]`
			return differ(fmt.Sprintf("%q %q", header, r.call.Trailer()), want)
		}},
		{"binary metadata with and without padding", ends("grpc-status", "0", "a-bin", "AQ==", "a-bin", "AQ"), func(r result) string {
			return differ(fmt.Sprintf("%q", r.call.Trailer()), `[{"a-bin" "\x01"} {"a-bin" "\x01"}]`)
		}},
		{"a list of binary metadata", ends("grpc-status", "0", "a-bin", "AQ==, Ag,,Aw"), func(r result) string {
			return differ(fmt.Sprintf("%q", r.call.Trailer()), `[{"a-bin" "\x01"} {"a-bin" "\x02"} {"a-bin" ""} {"a-bin" "\x03"}]`)
		}},
		{"details of a status", ends("grpc-status", "5", "grpc-status-details-bin", "CAUSBGdvbmU"), func(r result) string {
			return differ(fmt.Sprintf("%q", r.call.Trailer()), `[{"grpc-status-details-bin" "\b\x05\x12\x04gone"}]`)
		}},
		{"binary metadata that is not base64", ends("grpc-status", "0", "a-bin", "?"), fails(KindNotGRPC, codes.Internal, "a-bin")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, events := start(t, Options{})
				ch := begin(t, c, Request{})
				s.send(tt.frames...)
				if problem := tt.check(end(t, ch)); problem != "" {
					t.Error(problem)
				}
				// Whatever it was, the connection goes on.
				next := begin(t, c, Request{})
				s.send(ok(3), message(3, "next"), trailer(3, "0"))
				if r := end(t, next); r.err != nil || r.text != "next" || events.closedWith() != nil {
					t.Error(r.text, r.err, events.closedWith())
				}
				stop(t, c)
			})
		})
	}
}

func differ(got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("got %s\nwant %s", got, want)
}

func TestResetCodes(t *testing.T) {
	for code, want := range map[http2.ErrCode]codes.Code{
		http2.ErrCodeNo: codes.Internal, http2.ErrCodeProtocol: codes.Internal, http2.ErrCodeInternal: codes.Internal,
		http2.ErrCodeFlowControl: codes.ResourceExhausted, http2.ErrCodeRefusedStream: codes.Unavailable,
		http2.ErrCodeCancel: codes.Canceled, http2.ErrCodeEnhanceYourCalm: codes.ResourceExhausted,
		http2.ErrCodeInadequateSecurity: codes.PermissionDenied, http2.ErrCodeHTTP11Required: codes.Internal, 0x99: codes.Unknown,
	} {
		if got := resetCode(code); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}
