package module_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// TestAnswersWithoutJSONFormAreLoggedOncePerMethod asks an instance for times that JSON does not
// have. Callers get the last time that JSON has, each time. The operator gets one line for each
// method that does this, which names the method, the place in the answer and the reason.
func TestAnswersWithoutJSONFormAreLoggedOncePerMethod(t *testing.T) {
	never := &timestamppb.Timestamp{Seconds: math.MaxInt64}
	setTime := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		resp, err := next(ctx, req)
		switch resp := resp.(type) {
		case *testpb.EchoResponse:
			resp.Request.At = never
		case *testpb.Book:
			resp.Published = never
		}
		return resp, err
	}
	backend := testkit.StartBackend(t, testkit.WithServerOptions(grpc.ChainUnaryInterceptor(setTime)))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())

	const last = "9999-12-31T23:59:59.999999999Z"
	for range 3 {
		if got := s.want(s.get("/v1/echo/x"), http.StatusOK); got.field("request", "at") != last {
			t.Errorf("got %s, want the time %s", got, last)
		}
		put := s.want(s.do("PUT", "/v1/shelves/1/books/2", `{"title":"T"}`), http.StatusOK)
		if put.field("published") != last || put.field("title") != "T" {
			t.Errorf("got %s, want the title and the time %s", put, last)
		}
	}
	// This is another route of the first method.
	s.want(s.do("POST", "/v1/echo", `{"text":"x"}`), http.StatusOK)

	lines := s.logged("a value without a JSON form")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want one for each of two methods:\n%s", len(lines), strings.Join(lines, ""))
	}
	const reason = "timestamp of 9223372036854775807 seconds is not within the years 1 to 9999"
	for i, want := range [][]string{
		{`"level":"warn"`, `"method":"gateway.test.v1.Echo/Unary"`, `"upstream":"` + backend.Addr() + `"`, `"error":"/request/at: ` + reason},
		{`"level":"warn"`, `"method":"gateway.test.v1.Library/UpdateBook"`, `"error":"/published: ` + reason},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d has no %s:\n%s", i+1, part, lines[i])
			}
		}
	}
}
