package compat

import (
	"slices"
	"strings"
	"testing"

	zerogateway "github.com/zeromicro/go-zero/gateway"
	"github.com/zeromicro/go-zero/zrpc"
)

// mapping is an entry of Mappings, as both gateways write it.
type mapping struct{ method, old, ours, rpc string }

var mappings = []mapping{
	{"GET", "/m/echo/:text", "/m/echo/{text}", "gateway.test.v1.Echo/Unary"},
	{"GET", "/m/echo", "/m/echo", "gateway.test.v1.Echo/Unary"},
	{"POST", "/m/echo", "/m/echo", "gateway.test.v1.Echo/Unary"},
	{"PUT", "/m/echo/:text", "/m/echo/{text}", "gateway.test.v1.Echo/Unary"},
	{"PATCH", "/m/echo/:text", "/m/echo/{text}", "gateway.test.v1.Echo/Unary"},
	{"DELETE", "/m/echo/:text", "/m/echo/{text}", "gateway.test.v1.Echo/Unary"},
	{"HEAD", "/m/head", "/m/head", "gateway.test.v1.Echo/Unary"},
	{"OPTIONS", "/m/options", "/m/options", "gateway.test.v1.Echo/Unary"},
	{"GET", "/m/number/:count", "/m/number/{count}", "gateway.test.v1.Echo/Unary"},
	{"GET", "/m/flag/:flag/:big", "/m/flag/{flag}/{big}", "gateway.test.v1.Echo/Unary"},
	{"GET", "/m/book", "/m/book", "gateway.test.v1.Library/GetBook"},
	{"GET", "/m/books", "/m/books", "gateway.test.v1.Library/ListBooks"},
	{"DELETE", "/m/book", "/m/book", "gateway.test.v1.Library/DeleteBook"},
	{"POST", "/m/book", "/m/book", "gateway.test.v1.Library/CreateBook"},
	{"GET", "/m/stream/:count", "/m/stream/{count}", "gateway.test.v1.Echo/ServerStream"},
	{"POST", "/m/stream", "/m/stream", "gateway.test.v1.Echo/ServerStream"},
	{"POST", "/m/collect", "/m/collect", "gateway.test.v1.Echo/ClientStream"},
	{"POST", "/m/chat", "/m/chat", "gateway.test.v1.Echo/Bidi"},
	{"GET", "/m/download/:count", "/m/download/{count}", "gateway.test.v1.Echo/Download"},
	{"POST", "/m/upload/:filename", "/m/upload/{filename}", "gateway.test.v1.Echo/Upload"},
}

// routes are the mappings as routes of the Caddyfile.
func routes() string {
	var b strings.Builder
	for _, m := range mappings {
		b.WriteString("route " + m.method + " " + m.ours + " " + m.rpc + "\n\t")
	}
	return b.String()
}

func TestGoZero(t *testing.T) {
	old, oldBackend := startGoZero(t, code(t, "From go-zero's gateway", "yaml")[0], func(c *zerogateway.GatewayConf, backend string) {
		up := &c.Upstreams[0]
		up.Grpc.Endpoints, up.ProtoSets = []string{backend}, nil
		up.Grpc.Etcd.Hosts, up.Grpc.Etcd.Key = nil, ""
		// A breaker that opens after so many errors as this test makes would hide the answers.
		up.Grpc.Middlewares = zrpc.ClientMiddlewaresConf{Trace: true, Duration: true, Prometheus: true, Timeout: true}
		// So would shedding load, which it does when the machine is busy.
		c.Middlewares.Breaker, c.CpuThreshold = false, 0
		up.Mappings = nil
		for _, m := range mappings {
			up.Mappings = append(up.Mappings, zerogateway.RouteMapping{Method: m.method, Path: m.old, RpcPath: m.rpc})
		}
	})
	caddyfile := code(t, "From go-zero's gateway", "caddyfile")[0]
	directive := site(t, caddyfile, "etcd://127.0.0.1:2379/user.rpc")
	if !strings.Contains(directive, documentedRoute) {
		t.Fatalf("no %s in:\n%s", documentedRoute, directive)
	}
	ours, ourBackend := startOurs(t, strings.Replace(directive, documentedRoute, routes(), 1))
	compare(t, old, ours, goZeroRows())

	oldBackend.Stop()
	ourBackend.Stop()
	compare(t, old, ours, goZeroDown())
}

// TestGoZeroKept: the last column of the table keeps what it says.
func TestGoZeroKept(t *testing.T) {
	ours, _ := startOurs(t, `
		grpc_gateway UPSTREAM {
			compat go-zero
			cross_site allow
			`+routes()+`
			json {
				max_depth 10000
			}
			metadata {
				request -x-forwarded-*
			}
		}`)
	keep(t, ours, goZeroRows())
}

// documentedRoute is the route in docs/migrating.md. Those of the test take its place.
const documentedRoute = "route GET /user/{id} demo.user.v1.UserService/GetUser"

func goZeroRows() []row {
	// Texts with markup and field masks have rows of their own.
	plain := strings.NewReplacer(`<a> & é 😀 \u2028`, "é 😀", `"mask":"title,author.name",`, "").Replace(everything)
	return []row{
		// Routes.
		{name: "a mapping", call: "GET /m/echo/hello", has: `"text":"hello"`},
		{name: "a rule of the schema", call: "GET /v1/echo/x", doc: "A rule in `additional_bindings`",
			old: &said{status: 404}, ours: &said{has: `"text":"x"`}},
		{name: "a rule of the schema by POST", call: "POST /v1/echo", body: `{"text":"a"}`, has: `"text":"a"`},
		{name: "a number in the path", call: "GET /m/number/7", has: `"count":7`},
		{name: "no number in the path", call: "GET /m/number/x", status: 400, rule: wording},
		{name: "a bool and a long number in the path", call: "GET /m/flag/true/9007199254740993", has: `"big":"9007199254740993"`},
		{name: "a slash at the end", call: "GET /m/echo/a/", doc: "A slash at the end, two slashes, dots",
			old: &said{has: `"text":"a"`}, ours: &said{status: 404, body: "404 page not found\n"}},
		{name: "two slashes", call: "GET /m//echo/a", doc: "A slash at the end, two slashes, dots",
			old: &said{has: `"text":"a"`}, ours: &said{status: 404, body: "404 page not found\n"}},
		{name: "an encoded space", call: "GET /m/echo/a%20b", has: `"text":"a b"`},
		{name: "an encoded percent sign", call: "GET /m/echo/a%252Fb", has: `"text":"a%2Fb"`},
		{name: "an encoded slash", call: "GET /m/echo/a%2Fb", doc: "A slash as `%2F` in the path",
			old: &said{status: 404}, ours: &said{has: `"text":"a/b"`}},
		{name: "encoded UTF-8", call: "GET /m/echo/%C3%A9", has: `"text":"é"`},
		{name: "dots", call: "GET /m/echo/..", doc: "A slash at the end, two slashes, dots",
			old: &said{status: 404}, ours: &said{has: `"text":".."`}},
		{name: "an unknown path", call: "GET /nowhere", status: 404, has: "404 page not found\n"},
		{name: "a known path, another method", call: "PUT /m/echo", doc: "A known path, another method",
			old: &said{status: 405}, ours: &said{status: 405, header: "Allow: GET, HEAD, OPTIONS, POST"}},
		{name: "HEAD", call: "HEAD /m/echo/a", doc: "HEAD on a GET route",
			old: &said{status: 405}, ours: &said{header: "Content-Type: application/json"}},
		{name: "HEAD that is mapped", call: "HEAD /m/head"},
		{name: "OPTIONS", call: "OPTIONS /m/echo/a", doc: "OPTIONS",
			old: &said{status: 405}, ours: &said{status: 204, header: "Allow: DELETE, GET, HEAD, OPTIONS, PATCH, PUT"}},
		{name: "OPTIONS that is mapped", call: "OPTIONS /m/options", has: `"text":""`},
		{name: "the method's name", call: "POST /gateway.test.v1.Echo/Unary", body: `{}`, status: 404},
		{name: "a page of another site", call: "POST /m/echo", headers: "Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: cors|Origin: https://other.example", body: `{"text":"a"}`, doc: "A page of another site",
			old: &said{has: `"text":"a"`}, ours: &said{status: 403, has: "rpc error: code = PermissionDenied"}, kept: &said{has: `"text":"a"`}},
		{name: "an Accept that allows no JSON", call: "GET /m/echo/a", headers: "Accept: text/html", has: `"text":"a"`},

		// Bodies.
		{name: "every kind of field", call: "POST /m/echo", body: plain, has: `"maybeNumber":0`},
		{name: "names of the .proto file", call: "POST /m/echo", body: `{"maybe_number":1,"renamed_field":"r"}`, has: `"otherName":"r"`},
		{name: "markup", call: "POST /m/echo", body: `{"text":"<a> & b"}`, doc: "`<`, `>` and `&` in texts",
			old: &said{has: `"text":"\u003ca\u003e \u0026 b"`}, ours: &said{has: `"text":"<a> & b"`}},
		{name: "NaN and infinities", call: "POST /m/echo", body: `{"ratio":"NaN","small":"-Infinity"}`, has: `"ratio":"NaN"`},
		{name: "large and small numbers", call: "POST /m/echo", body: `{"ratio":1e6,"small":1e-5}`, has: `"ratio":1e+06`, rule: numbers},
		{name: "bytes in base64url", call: "POST /m/echo", body: `{"data":"-_8"}`, doc: "Forms of values that ProtoJSON has",
			old: &said{status: 400}, ours: &said{has: `"data":"+/8="`}},
		{name: "a field mask", call: "POST /m/echo", body: `{"mask":"title,author.name"}`, doc: "Forms of values that ProtoJSON has",
			old: &said{status: 400}, ours: &said{has: `"mask":"title,author.name"`}},
		{name: "null for every kind", call: "POST /m/echo", body: `{"text":null,"list":null,"nested":null,"value":null,"wrapped":null}`, has: `"text":""`},
		{name: "an empty message in a oneof", call: "POST /m/echo", body: `{"middle":{}}`, has: `"middle":{`},
		{name: "an enum value without a name", call: "POST /m/echo", body: `{"genre":77}`, has: `"genre":77`},
		{name: "no body", call: "POST /m/echo", has: `"text":""`},
		{name: "a body of white space", call: "POST /m/echo", body: " \n", has: `"text":""`},
		{name: "an empty object", call: "POST /m/echo", body: `{}`, has: `"text":""`},
		{name: "null as the body", call: "POST /m/echo", body: `null`, doc: "Forms of values that ProtoJSON has not",
			old: &said{has: `"text":""`}, ours: &said{status: 400}},
		{name: "an array as the body", call: "POST /m/echo", body: `[]`, status: 400, rule: wording},
		{name: "unknown fields", call: "POST /m/echo", body: `{"text":"a","nonsense":{"x":[1]},"nested":{"nonsense":1}}`, has: `"text":"a"`},
		{name: "an unknown name of an enum", call: "POST /m/echo", body: `{"genre":"COMIC"}`, doc: "An unknown name of an enum",
			old: &said{status: 400}, ours: &said{has: `"genre":"GENRE_UNSPECIFIED"`}},
		{name: "text after the JSON", call: "POST /m/echo", body: `{"text":"a"} trailing`, doc: "Text after the JSON",
			old: &said{status: 400}, ours: &said{has: `"text":"a"`}},
		{name: "a second JSON value", call: "POST /m/echo", body: `{"text":"a"}{"text":"b"}`, doc: "Text after the JSON",
			old: &said{status: 400}, ours: &said{has: `"text":"a"`}},
		{name: "text after the JSON, with a path variable", call: "PUT /m/echo/a", body: `{"count":1} trailing`, has: `"count":1`},
		{name: "a cut body", call: "POST /m/echo", body: `{"text":`, status: 400, rule: wording},
		{name: "a wrong type", call: "POST /m/echo", body: `{"count":"x"}`, status: 400, rule: wording},
		{name: "a number in quotes for a bool", call: "POST /m/echo", body: `{"flag":"true"}`, doc: "Forms of values that ProtoJSON has not",
			old: &said{has: `"flag":true`}, ours: &said{status: 400}},
		{name: "a list for a single value", call: "POST /m/echo", body: `{"text":["a","b"]}`, doc: "Forms of values that ProtoJSON has not",
			old: &said{has: `"text":"b"`}, ours: &said{status: 400}},
		{name: "a single value for a list", call: "POST /m/echo", body: `{"list":"a"}`, doc: "Forms of values that ProtoJSON has not",
			old: &said{has: `"list":["a"]`}, ours: &said{status: 400}},
		{name: "a number that is too large", call: "POST /m/echo", body: `{"count":2147483648}`, status: 400, rule: wording},
		{name: "a field twice", call: "POST /m/echo", body: `{"text":"a","text":"b"}`, doc: "Forms of values that ProtoJSON has not",
			old: &said{has: `"text":"b"`}, ours: &said{status: 400}},
		{name: "two members of a oneof", call: "POST /m/echo", body: `{"left":"a","right":1}`, doc: "Forms of values that ProtoJSON has not",
			old: &said{has: `"right":1`}, ours: &said{status: 400}},
		{name: "a body and a path variable", call: "PUT /m/echo/p", body: `{"count":2,"text":"body"}`, has: `"text":"p"`},
		{name: "a PATCH", call: "PATCH /m/echo/p", body: `{"count":2}`, has: `"count":2`},
		{name: "a body and a query", call: "POST /m/echo?count=3&text=q", body: `{"list":["l"],"text":"body"}`, has: `"text":"q"`},
		{name: "a long number beside the query", call: "POST /m/echo?text=q", body: `{"big":9007199254740993}`, doc: "A long number beside a query or a path variable",
			old: &said{has: `"big":"9007199254740992"`}, ours: &said{has: `"big":"9007199254740993"`}},
		{name: "a body of a GET", call: "GET /m/echo", body: `{"text":"body"}`, has: `"text":"body"`},
		{name: "a body of a DELETE", call: "DELETE /m/echo/p", body: `{"count":2}`, has: `"count":2`},
		{name: "an answer without fields", call: "DELETE /m/book?name=shelves/1/books/2", has: `{}`},
		{name: "what is not there", call: "GET /m/book?name=none", status: 404, has: `no book "none"`},
		{name: "a list of messages", call: "GET /m/books?page_size=1", has: `"title":"Emma"`},

		// Types and codings of bodies.
		{name: "a body of type text/plain", call: "POST /m/echo", headers: "Content-Type: text/plain", body: `{"text":"a"}`, has: `"text":"a"`},
		{name: "a body of an unknown type", call: "POST /m/echo", headers: "Content-Type: application/x-unknown; a=b", body: `{"text":"a"}`, has: `"text":"a"`},
		{name: "another charset", call: "POST /m/echo", headers: "Content-Type: application/json; charset=latin1", body: `{"text":"a"}`, has: `"text":"a"`},
		{name: "a form", call: "POST /m/echo", headers: "Content-Type: application/x-www-form-urlencoded", body: `text=a+b&list=x&list=y&count=3`, has: `"text":"a b"`},
		{name: "a form of several parts", call: "POST /m/echo", headers: "Content-Type: multipart/form-data; boundary=b", body: "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhi\r\n--b--\r\n", has: `"text":"hi"`},
		{name: "a packed body", call: "POST /m/echo", headers: "Content-Encoding: gzip", body: packed(`{"text":"packed"}`), has: `"text":"packed"`},

		// Queries.
		{name: "texts and numbers", call: "GET /m/echo?text=a&count=2&big=-1&huge=1&ratio=1.5&flag=true&zig=-1", has: `"text":"a"`},
		{name: "lists", call: "GET /m/echo?list=a&list=b", has: `"list":["a","b"]`},
		{name: "lists with brackets", call: "GET /m/echo?list[]=a&list[]=b", has: `"list":["a","b"]`},
		{name: "a list with commas", call: "GET /m/echo?list=a,b", has: `"list":["a,b"]`},
		{name: "nested fields", call: "GET /m/echo?nested.value=a&text=t", doc: "Nested fields and maps in the query",
			old: &said{has: `"nested":null`}, ours: &said{has: `"nested":{"value":"a"`}},
		{name: "a map", call: "GET /m/echo?labels[a]=1&text=t", doc: "Nested fields and maps in the query",
			old: &said{has: `"labels":{}`}, ours: &said{has: `"labels":{"a":"1"}`}},
		{name: "names in the query", call: "GET /m/echo?otherName=a&maybe_number=1", has: `"otherName":"a"`},
		{name: "enums by name and number", call: "GET /m/echo?genre=NOVEL&genres=2&genres=NOVEL", has: `"genre":"NOVEL"`},
		{name: "an enum that does not exist", call: "GET /m/echo?genre=COMIC", doc: "An unknown name of an enum",
			old: &said{status: 400}, ours: &said{has: `"genre":"GENRE_UNSPECIFIED"`}},
		{name: "a time and a duration", call: "GET /m/echo?at=2024-01-02T03:04:05Z&lag=1.5s", has: `"lag":"1.500s"`},
		{name: "wrappers", call: "GET /m/echo?wrapped=w&wrapped_number=5", has: `"wrappedNumber":"5"`},
		{name: "bytes in the query", call: "GET /m/echo?data=AP8%3D", has: `"data":"AP8="`},
		{name: "an empty parameter", call: "GET /m/echo?text=&count=", has: `"text":""`},
		{name: "an empty text with presence", call: "GET /m/echo?maybe=", has: `"text":""`},
		{name: "a parameter twice", call: "GET /m/echo?text=a&text=b", has: `"text":"b"`},
		{name: "an unknown parameter", call: "GET /m/echo?nonsense=1&text=a", has: `"text":"a"`},
		{name: "what the path binds, differently", call: "GET /m/echo/a?text=b", has: `"text":"a"`},
		{name: "a number that is none", call: "GET /m/echo?count=x", status: 400, rule: wording},
		{name: "other words for true", call: "GET /m/echo?flag=1", doc: "`flag=1` in the query",
			old: &said{status: 400}, ours: &said{has: `"flag":true`}},
		{name: "a plus and its code", call: "GET /m/echo?text=a+b%2Bc", has: `"text":"a b+c"`},
		{name: "a semicolon in the query", call: "GET /m/echo?text=1;count=2", doc: "A semicolon in the query",
			old: &said{status: 400}, ours: &said{has: `"text":"1;count=2"`}},
		{name: "bad encoding in the query", call: "GET /m/echo?text=%zz", status: 400, rule: wording},

		// Metadata.
		{name: "metadata by its prefix", call: "GET /m/echo/a", headers: "Grpc-Metadata-X-Tenant: t", has: `"gateway-x-tenant":"t"`},
		{name: "binary metadata", call: "GET /m/echo/a", headers: "Grpc-Metadata-X-Bin: AP8=", has: `"gateway-x-bin":"AP8="`},
		{name: "all other headers", call: "GET /m/echo/a", headers: "X-Tenant: t|Authorization: Bearer x|Cookie: a=b", has: `"text":"a"`},
		{name: "a header that claims to be the gateway's", call: "GET /m/echo/a", headers: "Gateway-X: forged", has: `"text":"a"`},
		{name: "a trace", call: "GET /m/echo/a", headers: "Traceparent: 00-11111111111111111111111111111111-1111111111111111-01|Baggage: a=b", has: `"baggage":"a=b"`},
		{name: "X-Forwarded-For", call: "GET /m/echo/a", headers: "X-Forwarded-For: 192.0.2.1", has: `"text":"a"`},
		{name: "response metadata", call: "POST /m/echo", body: `{"script":{"headers":{"x-a":"1"}}}`, has: `"headers":{`},
		{name: "trailers", call: "POST /m/echo", body: `{"script":{"trailers":{"total":"3"}}}`, has: `"trailers":{`},

		// Errors.
		{name: "an error", call: "POST /m/echo", body: `{"script":{"failCode":5,"failMessage":"no \"x\" <here>"}}`, status: 404, has: "rpc error: code = NotFound desc = no \"x\" <here>\n"},
		{name: "CANCELLED", call: "POST /m/echo", body: `{"script":{"failCode":1,"failMessage":"m"}}`, status: 408},
		{name: "UNKNOWN", call: "POST /m/echo", body: `{"script":{"failCode":2,"failMessage":"m"}}`, status: 500},
		{name: "INVALID_ARGUMENT", call: "POST /m/echo", body: `{"script":{"failCode":3,"failMessage":"m"}}`, status: 400},
		{name: "DEADLINE_EXCEEDED", call: "POST /m/echo", body: `{"script":{"failCode":4,"failMessage":"m"}}`, status: 504},
		{name: "ALREADY_EXISTS", call: "POST /m/echo", body: `{"script":{"failCode":6,"failMessage":"m"}}`, status: 409},
		{name: "PERMISSION_DENIED", call: "POST /m/echo", body: `{"script":{"failCode":7,"failMessage":"m"}}`, status: 403},
		{name: "RESOURCE_EXHAUSTED", call: "POST /m/echo", body: `{"script":{"failCode":8,"failMessage":"m"}}`, status: 429},
		{name: "FAILED_PRECONDITION", call: "POST /m/echo", body: `{"script":{"failCode":9,"failMessage":"m"}}`, status: 400},
		{name: "UNIMPLEMENTED", call: "POST /m/echo", body: `{"script":{"failCode":12,"failMessage":"m"}}`, status: 501},
		{name: "INTERNAL", call: "POST /m/echo", body: `{"script":{"failCode":13,"failMessage":"m"}}`, status: 500},
		{name: "UNAVAILABLE", call: "POST /m/echo", body: `{"script":{"failCode":14,"failMessage":"m"}}`, status: 503},
		{name: "UNAUTHENTICATED", call: "POST /m/echo", body: `{"script":{"failCode":16,"failMessage":"log in"}}`, doc: "`WWW-Authenticate` on 401",
			old: &said{status: 401, header: "WWW-Authenticate"}, ours: &said{status: 401, header: "WWW-Authenticate: Bearer"}},
		{name: "a code that does not exist", call: "POST /m/echo", body: `{"script":{"failCode":77,"failMessage":"m"}}`, status: 500},
		{name: "an error with details", call: "POST /m/echo", body: `{"script":{"failCode":3,"failMessage":"m","failBadRequest":true}}`, doc: "An error with details",
			old: &said{status: unreadable}, ours: &said{status: 400, body: "rpc error: code = InvalidArgument desc = m\n"}},
		{name: "an error with RetryInfo", call: "POST /m/echo", body: `{"script":{"failCode":14,"failMessage":"m","failRetryAfter":"2s"}}`, doc: "An error with details",
			old: &said{status: unreadable}, ours: &said{status: 503, body: "rpc error: code = Unavailable desc = m\n", header: "Retry-After: 2"}},
		{name: "an error with metadata", call: "POST /m/echo", body: `{"script":{"failCode":5,"failMessage":"m","headers":{"x-a":"1"},"trailers":{"x-t":"2"}}}`, status: 404},

		// What no other row compares.
		{name: "the content type of an answer", call: "GET /m/echo/a", doc: "`charset` in the `Content-Type`",
			old:  &said{header: "Content-Type: application/json; charset=utf-8"},
			ours: &said{header: "Content-Type: application/json"}},
		{name: "X-Forwarded headers", call: "GET /m/echo/a", doc: "`X-Forwarded-*`",
			old: &said{lacks: "x-forwarded-"}, ours: &said{has: `"x-forwarded-for":"127.0.0.1"`}, kept: &said{lacks: "x-forwarded-"}},
		{name: "the trace in the answer", call: "GET /m/echo/a", headers: "Baggage: a=b", doc: "Headers of a trace in answers",
			old: &said{header: "Baggage: a=b"}, ours: &said{header: "Baggage|Traceparent"}},
		{name: "the text of a wrong value", call: "GET /m/number/x", doc: "The texts of the gateway's errors",
			old:  &said{status: 400, body: "error getting request data: strconv.ParseInt: parsing \"x\": invalid syntax\n"},
			ours: &said{status: 400, has: "rpc error: code = InvalidArgument desc = path variable count: /count: expected an integer"}},

		// Deadlines.
		{name: "the deadline", call: "POST /m/echo", body: `{"script":{"delay":"5s"}}`, status: 504, rule: either},
		{name: "a deadline of the client", call: "POST /m/echo", headers: "Grpc-Timeout: 50m", body: `{"script":{"delay":"0.2s"}}`, has: `"text":""`},

		// Streams and google.api.HttpBody.
		{name: "a stream from the server", call: "GET /m/stream/2", doc: "A stream",
			old: &said{has: `}{"text":""`, header: "Content-Type: application/json; charset=utf-8"}, ours: &said{has: "}\n{", header: "Content-Type: application/x-ndjson"}},
		{name: "a stream without messages", call: "GET /m/stream/0", doc: "A stream",
			old: &said{header: "Content-Type: application/json; charset=utf-8"}, ours: &said{header: "Content-Type: application/x-ndjson"}},
		{name: "an error before the first message", call: "POST /m/stream", body: `{"count":2,"script":{"failCode":5,"failMessage":"m"}}`, status: 404},
		{name: "an error within a stream", call: "POST /m/stream", body: `{"count":2,"script":{"failCode":5,"failMessage":"m","failAfter":1}}`, doc: "An error within a stream",
			old: &said{has: "}rpc error: code = NotFound desc = m\n"}, ours: &said{has: `{"error":{"code":5,"message":"m"`}},
		{name: "lines from the client", call: "POST /m/collect", body: "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", doc: "The deadline of a stream",
			old: &said{has: `"text":"a,b"`, lacks: `"deadlineMs":"0"`}, ours: &said{has: `"deadlineMs":"0"`}},
		{name: "an array from the client", call: "POST /m/collect", body: `[{"text":"a"},{"text":"b"}]`, doc: "An array as a stream of requests",
			old: &said{status: 400}, ours: &said{has: `"text":"a,b"`}},
		{name: "a stream in both directions", call: "POST /m/chat", body: "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", doc: "A stream",
			old: &said{has: `}{"text":"b"`, header: "Content-Type: application/json; charset=utf-8"}, ours: &said{has: "}\n{", header: "Content-Type: application/x-ndjson"}},
		{name: "raw bytes from the server", call: "GET /m/download/1", doc: "HttpBody",
			old: &said{has: `"data":"Y2h1bmsgMQo="`}, ours: &said{body: "chunk 1\n", header: "Content-Type: text/plain; charset=utf-8"}},
		{name: "an upload as JSON", call: "POST /m/upload/n", body: `{"content":{"contentType":"text/x-a","data":"aGk="}}`, doc: "HttpBody",
			old: &said{has: `"data":"aGk="`}, ours: &said{body: "hi", header: "Content-Type: text/x-a"}},

		// Sizes.
		{name: "a large body", call: "POST /m/echo", body: `{"text":"` + strings.Repeat("a", 2<<20) + `"}`, doc: "A body that is too large",
			old: &said{status: 413, header: "Content-Type"}, ours: &said{status: 413, has: "rpc error: code = ResourceExhausted"}},
		{name: "a large answer", call: "POST /m/echo", body: `{"script":{"filler":5242880}}`, doc: "An answer of more than 4 MiB",
			old: &said{status: 429}, ours: &said{status: 500}},
		{name: "a deep body", call: "POST /m/echo", body: `{"nested":` + strings.Repeat(`{"child":`, 200) + `{}` + strings.Repeat("}", 201), doc: "A body of more than 100 levels",
			old: &said{has: `"child":{`}, ours: &said{status: 400}, kept: &said{has: `"child":{`}},
	}
}

// goZeroDown are the rows for a service that cannot be reached.
func goZeroDown() []row {
	return []row{
		{name: "a service that is down", call: "GET /m/echo/a", doc: "A service that is down",
			old: &said{status: 503, header: "Retry-After"}, ours: &said{status: 503, has: "no instance of the service can be reached", header: "Retry-After: 1"}},
	}
}

// TestGoZeroGuide: docs/migrating.md has each difference, and no others.
func TestGoZeroGuide(t *testing.T) {
	documented(t, "From go-zero's gateway", slices.Concat(goZeroRows(), goZeroDown()))
}
