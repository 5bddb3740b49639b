// Package httprule parses the path templates of google.api.http rules and finds the route of a
// request by them.
//
// A [Template] is parsed once. A [Builder] collects templates with their HTTP methods and whatever
// value the caller wants back, and compiles them to an immutable [Router]. [Router.Match] takes the
// path as it came over the wire, still percent-encoded, and returns the value and the decoded
// variables:
//
//	t, err := httprule.Parse("/v1/{name=shelves/*}/books/{id}:archive")
//	...
//	var b httprule.Builder[*Method]
//	b.Add("POST", t, archive)
//	router, ambiguities := b.Build()
//	method, values, ok, err := router.Match("POST", "/v1/shelves/7/books/a%2Fb:archive", nil)
//	// values: "shelves/7", "a/b"
//
// Grammar, precedence and decoding follow the comment on google.api.HttpRule. Where that comment is
// silent, docs/routing.md says what this package does and why, with examples.
//
// The package knows nothing of protobuf. The caller checks that a variable names a field, and that
// its text is a valid value (or valid UTF-8) of that field. The package does not look at the query
// or the body, and it does not treat HEAD and OPTIONS specially.
package httprule
