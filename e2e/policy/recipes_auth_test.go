package policy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

const bookPath = "/v1/" + book

func passwords(t *testing.T, k *kitchen) {
	// Reading needs no password, and nobody can say who they are.
	k.do(t, "GET "+bookPath, "", "X-User: mallory").want(t, "reading", http.StatusOK, title)
	has(t, "reading", k.stable.one(t, "reading"), "x-user")
	_, err := k.library.GetBook(ctx(t, "x-user", "mallory"), &testpb.GetBookRequest{Name: book})
	code(t, "reading by gRPC", err, codes.OK)
	has(t, "reading by gRPC", k.stable.one(t, "reading by gRPC"), "x-user")

	remove := &testpb.GetBookRequest{Name: "shelves/1/books/9"}
	asked := `{"name":"shelves/1/books/9"}`
	k.do(t, "DELETE /v1/shelves/1/books/9", "").want(t, "REST", http.StatusUnauthorized, "Www-Authenticate: Basic", `"code":16`)
	k.do(t, "POST /gateway.test.v1.Library/DeleteBook", asked, asJSON, connect).want(t, "Connect", http.StatusUnauthorized, `"code":"unauthenticated"`)
	_, err = k.library.DeleteBook(ctx(t), remove)
	code(t, "gRPC", err, codes.Unauthenticated)
	k.stable.none(t, "without a password")

	authorization := "Authorization: " + basic()
	k.do(t, "DELETE /v1/shelves/1/books/9", "", authorization, "X-User: mallory").want(t, "REST with a password", http.StatusNotFound)
	k.do(t, "POST /gateway.test.v1.Library/DeleteBook", asked, asJSON, connect, authorization).
		want(t, "Connect with a password", http.StatusNotFound, `"code":"not_found"`)
	_, err = k.library.DeleteBook(ctx(t, "authorization", basic()), remove)
	code(t, "gRPC with a password", err, codes.NotFound)
	came := k.stable.take()
	if len(came) != 3 {
		t.Fatalf("%d calls came with a password, want 3", len(came))
	}
	for _, c := range came {
		has(t, "with a password", c.md, "x-user", "alice")
		has(t, "with a password", c.md, "authorization")
	}
}

func checkedTokens(t *testing.T, k *kitchen) {
	// What the guard says to people is not for programs.
	k.do(t, "GET "+bookPath, "", "Accept: text/html").want(t, "a browser", http.StatusFound, "Location: /login", "<h1>Please log in</h1>")
	k.do(t, "GET "+bookPath, "").want(t, "REST", http.StatusUnauthorized, `Www-Authenticate: Bearer realm="library"`, "<h1>Please log in</h1>")
	refused := k.do(t, "POST /"+getBook, `{}`, asJSON, connect)
	refused.want(t, "Connect", http.StatusUnauthorized, `"code":"unauthenticated"`, `Www-Authenticate: Bearer realm="library"`)
	if strings.Contains(refused.body, "<h1>") {
		t.Errorf("Connect: the login page came through: %s", refused.body)
	}
	_, err := k.library.GetBook(ctx(t), &testpb.GetBookRequest{Name: book})
	code(t, "gRPC", err, codes.Unauthenticated)
	if strings.Contains(err.Error(), "<h1>") {
		t.Errorf("gRPC: the login page came through: %v", err)
	}
	k.stable.none(t, "without a token")

	k.do(t, "GET "+bookPath, "", "Authorization: Bearer good-token", "X-User: mallory").want(t, "REST with a token", http.StatusOK, title)
	if asked := k.guard.asked(); asked.Get("X-Rpc") != getBook || asked.Get("X-Forwarded-Method") != "GET" || asked.Get("X-Forwarded-Uri") != bookPath {
		t.Errorf("the guard was asked about %v", asked)
	}
	md := k.stable.one(t, "REST with a token")
	has(t, "REST with a token", md, "x-user", "alice")
	has(t, "REST with a token", md, "x-roles", "reader, writer")
	has(t, "REST with a token", md, "authorization")

	// A header that the guard does not set is not the client's to set.
	_, err = k.library.GetBook(ctx(t, "authorization", "Bearer plain-token", "x-roles", "admin"), &testpb.GetBookRequest{Name: book})
	code(t, "gRPC with a token", err, codes.OK)
	md = k.stable.one(t, "gRPC with a token")
	has(t, "gRPC with a token", md, "x-user", "bob")
	has(t, "gRPC with a token", md, "x-roles")

	// The body of a stream is the service's, not the guard's.
	stream, err := k.echo.Bidi(ctx(t, "authorization", "Bearer good-token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if err := stream.Send(&testpb.EchoRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Recv(); err != nil || got.GetText() != text {
			t.Fatalf("a stream: %v, %v", got, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("a stream ended with %v", err)
	}
}

func browserTokens(t *testing.T, k *kitchen) {
	const token = "good-token"
	origin := k.page.URL
	k.do(t, "GET /v1/stream/2", "", "Accept: text/event-stream").want(t, "no token", http.StatusUnauthorized)
	k.do(t, "GET /v1/stream/2?access_token=wrong-token", "", "Accept: text/event-stream").want(t, "a wrong token", http.StatusUnauthorized)
	k.stable.none(t, "without a token")

	for name, headers := range map[string][]string{
		"a header": {"Authorization: Bearer " + token},
		"a cookie": {"Cookie: other=1; token=" + token},
	} {
		k.do(t, "GET /v1/stream/2", "", append(headers, "Accept: text/event-stream")...).want(t, name, http.StatusOK, `"number":2`)
		md := k.stable.one(t, name)
		has(t, name, md, "x-user", "alice")
		has(t, name, md, "authorization")
	}
	k.do(t, "GET /v1/stream/2?text=hello&access_token="+token, "", "Accept: text/event-stream").want(t, "the query", http.StatusOK, `"text":"hello"`)
	has(t, "the query", k.stable.one(t, "the query"), "x-user", "alice")

	conn, _, err := websocket.Dial(ctx(t), "ws://"+k.Listen+"/v1/stream/1", &websocket.DialOptions{
		Subprotocols: []string{"bearer", token}, HTTPHeader: http.Header{"Origin": {origin}},
	})
	if err != nil {
		t.Fatalf("a subprotocol: %v", err)
	}
	defer conn.CloseNow()
	if _, frame, err := conn.Read(ctx(t)); err != nil || conn.Subprotocol() != "bearer" {
		t.Errorf("a subprotocol: %s, %v, and %q was selected", frame, err, conn.Subprotocol())
	}
	has(t, "a subprotocol", k.stable.one(t, "a subprotocol"), "x-user", "alice")

	seen := k.page.Visit(t, map[string]string{"gateway": k.URL(""), "token": token})
	for name, want := range map[string]string{"subprotocol": `"hello"`, "wrong subprotocol": `"failed"`, "query": `"hello"`} {
		if seen[name] != want {
			t.Errorf("a WebSocket of a page, %s: %s, want %s", name, seen[name], want)
		}
	}
	k.stable.take()

	// The log has an entry for each request, and no token in any.
	kit.Eventually(t, 10*time.Second, "the access log has the stream of the query", func() error {
		if log := k.Log(); !strings.Contains(log, "text=hello") {
			return errors.New(log)
		}
		return nil
	})
	if log := k.Log(); strings.Contains(log, token) || strings.Contains(log, "wrong-token") {
		t.Errorf("a token is in the log:\n%s", log)
	}
}

// preflight is what a browser sends before a call of a page of another origin.
func preflight(origin string) []string {
	return []string{"Origin: " + origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"}
}

func pagesInside(t *testing.T, k *kitchen) {
	pages(t, k)
	k.do(t, "GET "+bookPath, "", "Origin: https://app.example.com").
		want(t, "the page sees the refusal", http.StatusUnauthorized, "Access-Control-Allow-Origin: https://app.example.com", `"code":16`)
}

func pagesBefore(t *testing.T, k *kitchen) {
	pages(t, k)
	// Only what is a preflight passes.
	k.do(t, "OPTIONS "+bookPath, "").want(t, "OPTIONS that is not a preflight", http.StatusUnauthorized)
	k.do(t, "GET "+bookPath, "", preflight("https://app.example.com")...).want(t, "GET with the headers of a preflight", http.StatusUnauthorized)
}

func pages(t *testing.T, k *kitchen) {
	t.Helper()
	k.do(t, "OPTIONS /"+getBook, "", preflight("https://app.example.com")...).
		want(t, "a preflight", http.StatusNoContent, "Access-Control-Allow-Origin: https://app.example.com")
	k.do(t, "OPTIONS /"+getBook, "", preflight("https://evil.example")...).want(t, "a preflight of another page", http.StatusForbidden)
	k.do(t, "GET "+bookPath, "").want(t, "REST", http.StatusUnauthorized, "Www-Authenticate: Basic", `"code":16`)
	k.do(t, "POST /"+getBook, `{}`, asJSON, connect).want(t, "Connect", http.StatusUnauthorized, `"code":"unauthenticated"`)
	_, err := k.library.GetBook(ctx(t), &testpb.GetBookRequest{Name: book})
	code(t, "gRPC", err, codes.Unauthenticated)
	k.stable.none(t, "without a password")
	k.do(t, "GET "+bookPath, "", "Authorization: "+basic(), "Origin: https://app.example.com").
		want(t, "a page with a password", http.StatusOK, "Access-Control-Allow-Origin: https://app.example.com", title)
	_, err = k.library.GetBook(ctx(t, "authorization", basic()), &testpb.GetBookRequest{Name: book})
	code(t, "gRPC with a password", err, codes.OK)
	k.stable.take()
}
