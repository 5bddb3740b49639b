package module_test

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/module"
)

// Before the handler only the path of an RPC protocol says which method is called.
func TestMatcherOfMethodsBeforeTheHandler(t *testing.T) {
	for name, tt := range map[string]struct {
		path, contentType string
		patterns          []string
		want              bool
	}{
		"by name":                         {"/shop.v1.Orders/Create", "application/json", []string{"*/Create*"}, true},
		"the second pattern":              {"/shop.v1.Orders/Create", "", []string{"a.B", "shop.v1.Orders"}, true},
		"another method":                  {"/shop.v1.Orders/Get", "", []string{"*/Create*"}, false},
		"gRPC":                            {"/shop.v1.Orders/Create", "application/grpc", []string{"shop.v1.*"}, true},
		"REST":                            {"/v1/orders", "application/json", []string{"*"}, false},
		"REST, of the form of a method":   {"/v1/CreateOrder", "application/json", []string{"*"}, false},
		"gRPC, a service without package": {"/Greeter/Hello", "application/grpc+proto", []string{"Greeter/*"}, true},
		"Connect stream, without package": {"/Greeter/Hello", "application/connect+json", []string{"Greeter"}, true},
		"no method":                       {"/shop.v1.Orders/", "application/grpc", []string{"*"}, false},
		"more than a method":              {"/shop.v1.Orders/Create/x", "application/grpc", []string{"*"}, false},
		"no patterns":                     {"/shop.v1.Orders/Create", "application/grpc", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPost, "http://h"+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", tt.contentType)
			if got, err := module.MatchGRPCMethod(tt.patterns).MatchWithError(r); got != tt.want || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// In a block, and in error routes, the matcher knows the method of a REST route as well.
func TestMatcherOfMethodsKnowsWhatWasFound(t *testing.T) {
	_, s := startPoliced(t, "errors pass\nwith * {"+`
		@get grpc_method */GetBook */ListBooks
		header @get X-Matcher yes
		@unary expression `+"`grpc_method('*/Unary', 'a.B')`"+`
		header @unary X-Expression yes
	}`, `
	@rpc grpc_method gateway.test.v1.*
	header @rpc X-Before yes
	handle_errors {
		@echo grpc_method gateway.test.v1.Echo
		respond @echo "an error of Echo"
		respond "an error"
	}`)
	for name, tt := range map[string]struct {
		answer
		header, want string
	}{
		"REST route, matcher":     {s.get("/v1/shelves/1/books/1"), "X-Matcher", "yes"},
		"REST route, not matched": {s.get("/v1/echo/x"), "X-Matcher", ""},
		"REST route, expression":  {s.get("/v1/echo/x"), "X-Expression", "yes"},
		"REST route, before":      {s.get("/v1/echo/x"), "X-Before", ""},
		"by name, before":         {s.do("POST", "/"+unaryName, "{}"), "X-Before", "yes"},
		"by name, expression":     {s.do("POST", "/"+unaryName, "{}"), "X-Expression", "yes"},
	} {
		if got := tt.answer.header.Get(tt.header); got != tt.want {
			t.Errorf("%s: %s is %q: %s", name, tt.header, got, tt.answer)
		}
	}
	if got := s.get("/v1/echo/x?script.fail_code=5"); got.body != "an error of Echo" {
		t.Errorf("in an error route: %s", got)
	}
	if got := s.get("/v1/nowhere"); got.body != "an error" {
		t.Errorf("in an error route, without a method: %s", got)
	}
	if got := callWays()["gRPC"].call(t, s); got.code != codes.OK || got.header.Get("X-Expression") != "yes" || got.header.Get("X-Before") != "yes" {
		t.Errorf("gRPC: %v", got)
	}
}

func TestMatcherOfMethodsChecksItsPatterns(t *testing.T) {
	s := newSite(t)
	for name, body := range map[string]string{
		"expression": "@m expression `grpc_method('/v1/users')`\nrespond @m 403",
	} {
		if err := s.tryLoad("", body); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
