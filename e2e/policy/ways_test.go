package policy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

const (
	getBook = "gateway.test.v1.Library/GetBook"
	book    = "shelves/1/books/1"
	title   = "Emma"

	user, password = "alice", "wonderland"
)

// way is one way to call GetBook, with one client.
type way struct {
	name string
	// call makes the call at an address, with the credentials if they are wanted, and returns all
	// that the client has to say.
	call func(t *testing.T, addr string, authorized bool) string
	// limited and private are parts of what it says if the call is refused because there are too
	// many, or because there are no credentials.
	limited, private []string
	// cached says that a cache may answer.
	cached bool
}

// What clients say of a refusal, by the protocol that they speak.
var (
	restLimited = []string{" 429", "Retry-After: 3", `"code":8`, `"message":"Too Many Requests"`, `"@type":"type.googleapis.com/google.rpc.RetryInfo"`, `"retryDelay":"3`}
	restPrivate = []string{" 401", `Www-Authenticate: Basic realm="restricted"`, `"code":16`, `"message":"Unauthorized"`}

	connectLimited = []string{" 429", "Retry-After: 3", `"code":"resource_exhausted"`, `"message":"Too Many Requests"`, `"type":"google.rpc.RetryInfo"`}
	connectPrivate = []string{" 401", `Www-Authenticate: Basic realm="restricted"`, `"code":"unauthenticated"`, `"message":"Unauthorized"`}

	// Trailers of gRPC-Web are a part of the body.
	webLimited = []string{" 200", "grpc-status: 8\r\n", "grpc-message: Too Many Requests\r\n", "grpc-status-details-bin: "}
	webPrivate = []string{" 200", "grpc-status: 16\r\n", "grpc-message: Unauthorized\r\n"}

	toolLimited = []string{" 200", "Retry-After: 3", `"isError":true`, `{\"code\":8,\"message\":\"Too Many Requests\"`, `\"retryDelay\":\"3`}
	toolPrivate = []string{" 200", `"isError":true`, `{\"code\":16,\"message\":\"Unauthorized\"}`}

	bufLimited = []string{"ended with 64", `"code": "resource_exhausted"`, `"message": "Too Many Requests"`, `"type": "google.rpc.RetryInfo"`}
	bufPrivate = []string{"ended with 128", `"code": "unauthenticated"`, `"message": "Unauthorized"`}
)

func ways() []way {
	message := []byte("\x0a" + string(rune(len(book))) + book)
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	json := fmt.Sprintf(`{"name":%q}`, book)
	query := "?connect=v1&encoding=json&message=" + url.QueryEscape(json)
	return []way{
		{
			name: "curl, a route, HTTP/1.1", cached: true, limited: restLimited, private: restPrivate,
			call: curl("/v1/"+book, "", "--http1.1"),
		},
		{
			name: "curl, a route, HTTP/2", cached: true, limited: restLimited, private: restPrivate,
			call: curl("/v1/"+book, "", "--http2-prior-knowledge"),
		},
		{
			name: "curl, JSON by name", limited: restLimited, private: restPrivate,
			call: curl("/"+getBook, json, "-HContent-Type: application/json"),
		},
		{
			name: "curl, Connect", limited: connectLimited, private: connectPrivate,
			call: curl("/"+getBook, json, "-HContent-Type: application/json", "-HConnect-Protocol-Version: 1"),
		},
		{
			name: "curl, Connect, GET", cached: true, limited: connectLimited, private: connectPrivate,
			call: curl("/"+getBook+query, ""),
		},
		{
			name: "curl, gRPC-Web", limited: webLimited, private: webPrivate,
			call: curl("/"+getBook, string(frame), "-HContent-Type: application/grpc-web+proto"),
		},
		{
			name: "curl, gRPC-Web as text", limited: webLimited, private: webPrivate,
			call: curl("/"+getBook, base64.StdEncoding.EncodeToString(frame), "-HContent-Type: application/grpc-web-text"),
		},
		{name: "buf curl, Connect", call: buf("connect", json), limited: bufLimited, private: bufPrivate},
		{name: "buf curl, gRPC", call: buf("grpc", json), limited: bufLimited, private: bufPrivate},
		{name: "buf curl, gRPC-Web", call: buf("grpcweb", json), limited: bufLimited, private: bufPrivate},
		{
			name: "grpcurl", call: grpcurl(json),
			limited: []string{"ended with 72", "Code: ResourceExhausted", "Message: Too Many Requests",
				`"@type": "type.googleapis.com/google.rpc.RetryInfo"`, `"retryDelay": "3`},
			private: []string{"ended with 80", "Code: Unauthenticated", "Message: Unauthorized"},
		},
		{
			name: "a WebSocket", call: socket("/v1/" + book),
			limited: restLimited, private: restPrivate,
		},
		{
			name: "curl, a tool", limited: toolLimited, private: toolPrivate,
			call: curl("/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Library_GetBook","arguments":%s}}`, json),
				"-HContent-Type: application/json", "-HAccept: application/json, text/event-stream"),
		},
	}
}

// basic is the value of Authorization with the credentials.
func basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// curl shows the header and the body of the answer. Texts of gRPC-Web are decoded.
func curl(path, body string, args ...string) func(*testing.T, string, bool) string {
	return func(t *testing.T, addr string, authorized bool) string {
		t.Helper()
		all := append([]string{"-sS", "-i", "--max-time", "30", "http://" + addr + path}, args...)
		if authorized {
			all = append(all, "-u", user+":"+password)
		}
		if body != "" {
			all = append(all, "--data-binary", "@-")
		}
		out := kit.Run(t, exec.Command("curl", all...), body)
		head, text, _ := strings.Cut(out.Stdout, "\r\n\r\n")
		if strings.Contains(head, "grpc-web-text") {
			text = decoded(text)
		}
		return canonical(head) + "\n\n" + text + out.Stderr
	}
}

// canonical writes the names of headers in one way, whatever the version of HTTP.
func canonical(head string) string {
	lines := strings.Split(head, "\r\n")
	for i, line := range lines {
		if name, value, ok := strings.Cut(line, ": "); ok {
			lines[i] = http.CanonicalHeaderKey(name) + ": " + value
		}
	}
	return strings.Join(lines, "\n")
}

// decoded decodes base64 that may have padding at the end of each of its parts.
func decoded(text string) string {
	var out bytes.Buffer
	for part := range strings.SplitAfterSeq(text, "=") {
		raw, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(part, "="))
		out.Write(raw)
	}
	return out.String()
}

func buf(protocol, json string) func(*testing.T, string, bool) string {
	return func(t *testing.T, addr string, authorized bool) string {
		t.Helper()
		args := []string{"curl", "--http2-prior-knowledge", "--reflect", "--protocol", protocol, "--data", "@-"}
		if authorized {
			args = append(args, "-H", "Authorization: "+basic())
		}
		out := kit.Run(t, exec.Command(kit.Buf(t), append(args, "http://"+addr+"/"+getBook)...), json)
		return fmt.Sprintf("%s%s\nended with %d", out.Stdout, out.Stderr, out.Code)
	}
}

func grpcurl(json string) func(*testing.T, string, bool) string {
	return func(t *testing.T, addr string, authorized bool) string {
		t.Helper()
		args := []string{"-plaintext", "-d", json}
		if authorized {
			args = append(args, "-H", "Authorization: "+basic())
		}
		out := kit.Run(t, exec.Command(kit.Grpcurl(t), append(args, addr, getBook)...), "")
		return fmt.Sprintf("%s%s\nended with %d", out.Stdout, out.Stderr, out.Code)
	}
}

// socket shows the first message, or the answer to the handshake if that was refused.
func socket(path string) func(*testing.T, string, bool) string {
	return func(t *testing.T, addr string, authorized bool) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		header := http.Header{}
		if authorized {
			header.Set("Authorization", basic())
		}
		conn, resp, err := websocket.Dial(ctx, "ws://"+addr+path, &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			if resp == nil {
				return err.Error()
			}
			var head strings.Builder
			_ = resp.Header.Write(&head)
			body, _ := io.ReadAll(resp.Body)
			return fmt.Sprintf("HTTP/1.1 %s\n%s\n%s", resp.Status, head.String(), body)
		}
		defer conn.CloseNow()
		_, frame, err := conn.Read(ctx)
		return fmt.Sprintf("%s %v", frame, err)
	}
}
