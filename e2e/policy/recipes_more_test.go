package policy

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func rateLimits(t *testing.T, k *kitchen) {
	create := &testpb.CreateBookRequest{Parent: "shelves/1"}
	for i := range 5 { // Ten in all, by two protocols.
		k.do(t, "POST /v1/shelves/1/books", `{"title":"x"}`, asJSON).want(t, fmt.Sprint("create ", i), http.StatusOK)
		_, err := k.library.CreateBook(ctx(t), create)
		code(t, "create by gRPC", err, codes.OK)
	}
	k.do(t, "POST /v1/shelves/1/books", `{"title":"x"}`, asJSON).want(t, "too many", http.StatusTooManyRequests, "Retry-After: ", `"code":8`)
	_, err := k.library.CreateBook(ctx(t), create)
	code(t, "too many by gRPC", err, codes.ResourceExhausted)
	if details := status.Convert(err).Details(); len(details) != 1 {
		t.Errorf("too many by gRPC: details %v, want a RetryInfo", details)
	} else if retry, ok := details[0].(*errdetails.RetryInfo); !ok || retry.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("too many by gRPC: details %v, want a RetryInfo", details)
	}
	// Each method has its own count, and reading has none.
	k.do(t, "DELETE /v1/shelves/1/books/1", "").want(t, "another method", http.StatusOK)
	k.do(t, "GET /v1/shelves/1/books/2", "").want(t, "reading", http.StatusOK)

	for range 100 {
		k.do(t, "GET /v1/shelves/1/books", "", "X-Api-Key: a").want(t, "list", http.StatusOK)
	}
	k.do(t, "GET /v1/shelves/1/books", "", "X-Api-Key: a").want(t, "list too often", http.StatusTooManyRequests)
	k.do(t, "GET /v1/shelves/1/books", "", "X-Api-Key: b").want(t, "another key", http.StatusOK)
}

func responseCache(t *testing.T, k *kitchen) {
	get := func(headers ...string) reply { return k.do(t, "GET "+bookPath, "", headers...) }
	connectGet := "GET /" + getBook + "?connect=v1&encoding=json&message=%7B%22name%22%3A%22shelves%2F1%2Fbooks%2F1%22%7D"
	for _, way := range []func() reply{
		func() reply { return get() },
		func() reply { return k.do(t, connectGet, "") },
	} {
		for range 3 {
			way().want(t, "GET", http.StatusOK, title, "Content-Type: application/json")
		}
		k.stable.one(t, "GET three times")
	}
	k.do(t, "HEAD "+bookPath, "").want(t, "HEAD", http.StatusOK)
	k.stable.take()

	// What is not GET passes, in its own protocol, and so does what has credentials.
	for range 2 {
		got, err := k.library.GetBook(ctx(t), &testpb.GetBookRequest{Name: book})
		if err != nil || got.GetTitle() != title {
			t.Errorf("gRPC: %v, %v", got, err)
		}
		k.stable.one(t, "gRPC")
		get("Authorization: Bearer x", "Cache-Control: no-cache").want(t, "with credentials", http.StatusOK, title)
		k.stable.one(t, "with credentials")
	}
	// Other methods are not cached.
	for range 2 {
		k.do(t, "GET /v1/shelves/1/books", "").want(t, "a list", http.StatusOK)
		k.stable.one(t, "a list")
	}
	for range 2 {
		k.do(t, "GET /v1/shelves/1/books/none", "").want(t, "404", http.StatusNotFound, `"code":5`)
	}
	k.stable.one(t, "404 twice")
}

func compressed(t *testing.T, k *kitchen) {
	for i := range 20 {
		_, err := k.library.CreateBook(ctx(t), &testpb.CreateBookRequest{Parent: "shelves/1", BookId: fmt.Sprint("c", i),
			Book: &testpb.Book{Title: strings.Repeat("long ", 20)}})
		code(t, "create", err, codes.OK)
	}
	const accept = "Accept-Encoding: gzip"
	list := k.do(t, "GET /v1/shelves/1/books", "", accept)
	list.want(t, "a list", http.StatusOK, "Content-Encoding: gzip", "Vary: Accept-Encoding")
	unpacked, err := gzip.NewReader(strings.NewReader(list.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(unpacked); err != nil || !strings.HasPrefix(string(text), `{"books":[`) || len(text) < 2*len(list.body) {
		t.Errorf("a list: %.100s, %v", text, err)
	}
	for what, r := range map[string]reply{
		"a short list":  k.do(t, "GET /v1/shelves/2/books", "", accept),
		"another way":   k.do(t, "GET /v1/shelves/1/books", ""),
		"one that none": k.do(t, "GET "+bookPath, "", accept),
	} {
		r.want(t, what, http.StatusOK)
		if got := r.header.Get("Content-Encoding"); got != "" {
			t.Errorf("%s: Content-Encoding %q", what, got)
		}
	}
	answer, err := k.library.ListBooks(ctx(t), &testpb.ListBooksRequest{Parent: "shelves/1"})
	if err != nil || len(answer.GetBooks()) != 22 {
		t.Errorf("gRPC: %d books, %v", len(answer.GetBooks()), err)
	}
}

func canary(t *testing.T, k *kitchen) {
	for header, chosen := range map[string]*witness{"X-Canary: 1": k.next, "X-Canary: 0": k.stable} {
		k.do(t, "GET "+bookPath, "", header).want(t, header, http.StatusOK, title)
		chosen.one(t, header)
		k.do(t, "DELETE "+bookPath, "", header).want(t, header+" without a password", http.StatusUnauthorized)
		k.stable.none(t, "without a password")
		k.next.none(t, "without a password")
	}
	_, err := k.library.GetBook(ctx(t, "x-canary", "1"), &testpb.GetBookRequest{Name: book})
	code(t, "gRPC", err, codes.OK)
	k.next.one(t, "gRPC")
	k.stable.none(t, "gRPC")
}
