package httprule_test

import (
	"fmt"

	"github.com/caddy-grpc/gateway/internal/httprule"
)

func Example() {
	template, err := httprule.Parse("/v1/{name=shelves/*}/books/{id}:archive")
	if err != nil {
		fmt.Println(err)
		return
	}
	var b httprule.Builder[string]
	b.Add("POST", template, "library.Books/Archive")
	router, _ := b.Build()

	value, values, ok, err := router.Match("POST", "/v1/shelves/7/books/a%2Fb:archive", nil)
	fmt.Println(value, ok, err)
	for i, path := range template.Variables() {
		fmt.Printf("%s = %s\n", path, values[i])
	}
	fmt.Println("Allow:", router.Allowed("/v1/shelves/7/books/a%2Fb:archive"))
	// Output:
	// library.Books/Archive true <nil>
	// name = shelves/7
	// id = a/b
	// Allow: [POST]
}
