// Package httprule parses google.api.http path templates and routes requests by them.
package httprule

// Template is a parsed path template, immutable.
type Template struct{}

// Parse parses a google.api.http path template. Errors are *SyntaxError with the column.
func Parse(template string) (*Template, error) { panic("to be built") }

// String returns the template as it was written.
func (t *Template) String() string { panic("to be built") }

// Variables returns the field paths of the template's variables, in the order in which Match returns their values.
func (t *Template) Variables() []string { panic("to be built") }

// Builder collects routes. T is what a match returns.
type Builder[T any] struct{}

// Add registers a route. method is an HTTP method, or "*" for any (a custom rule of kind "*").
func (b *Builder[T]) Add(method string, t *Template, value T) { panic("to be built") }

// Build compiles the routes to an immutable router. Two routes that match the same paths with the same method are
// an ambiguity: the first one added wins, and the pair is reported.
func (b *Builder[T]) Build() (*Router[T], []Ambiguity[T]) { panic("to be built") }

// Ambiguity is a pair of routes that cannot be told apart.
type Ambiguity[T any] struct {
	Method        string
	Winner, Loser T
	Reason        string
}

// Router finds the route of a request. Immutable, safe for concurrent use.
type Router[T any] struct{}

// Match finds the route for a method and a raw (still percent-encoded) path. vars is a scratch buffer whose contents
// are replaced: the values of the template's variables, decoded. An error means bad percent-encoding
// in the path. fullyDecodeReserved is a property of the router's builder, see Builder.FullyDecodeReserved.
func (r *Router[T]) Match(method, rawPath string, vars []string) (value T, values []string, ok bool, err error) {
	panic("to be built")
}

// Allowed returns the methods, sorted, that have a route for the path; empty when the path is unknown.
func (r *Router[T]) Allowed(rawPath string) []string { panic("to be built") }
