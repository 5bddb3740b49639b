package httprule_test

import (
	"fmt"

	"github.com/caddy-grpc/gateway/internal/httprule"
)

func Example() {
	var routes httprule.Builder[string]
	for _, rule := range []struct{ method, template, rpc string }{
		{"GET", "/v1/{name=shelves/*}/books/{id}", "GetBook"},
		{"POST", "/v1/{name=shelves/*}/books/{id}:archive", "ArchiveBook"},
	} {
		template, err := httprule.Parse(rule.template)
		if err != nil {
			fmt.Println(err)
			return
		}
		routes.Add(rule.method, template, rule.rpc)
	}
	router, ambiguities := routes.Build()
	fmt.Println("ambiguities:", len(ambiguities))

	rpc, values, ok, err := router.Match("POST", "/v1/shelves/7/books/a%2Fb:archive", nil)
	fmt.Printf("%s %q %v %v\n", rpc, values, ok, err)
	fmt.Println(router.Allowed("/v1/shelves/7/books/8"))

	_, err = httprule.Parse("/v1/{name=shelves/*")
	fmt.Println(err)
	// Output:
	// ambiguities: 0
	// ArchiveBook ["shelves/7" "a/b"] true <nil>
	// [GET]
	// path template "/v1/{name=shelves/*", column 20: expected "/" or "}", found the end
}
