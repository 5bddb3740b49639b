package compat

import (
	"slices"
	"strings"
	"testing"
)

// everything is a request with a value in each field, in the forms that ProtoJSON writes.
const everything = `{"text":"<a> & é 😀 \u2028","count":-7,"nested":{"value":"v","child":{"numbers":[1,2]}},"list":["a",""],` +
	`"labels":{"b":"2","a":"1"},"byNumber":{"10":{"value":"ten"},"9":{}},"genre":"POETRY","genres":["NOVEL",2],"data":"AP+/",` +
	`"big":"-9007199254740993","huge":"18446744073709551615","ratio":0.1,"flag":true,"maybe":"","maybeNumber":0,` +
	`"at":"2024-01-02T03:04:05.006Z","lag":"1.500s","mask":"title,author.name","wrapped":"w","wrappedNumber":"5",` +
	`"object":{"k":[1,null,"x"]},"value":{"n":1.5},"many":[{"value":"m"},{}],"otherName":"r","small":1.5,"zig":-1,"fixed":"3","right":4}`

func TestGRPCGateway(t *testing.T) {
	old, oldBackend := startGRPCGateway(t)
	caddyfile := code(t, "From grpc-gateway", "caddyfile")[0]
	ours, ourBackend := startOurs(t, site(t, caddyfile, "10.0.0.1:9001"))
	compare(t, old, ours, grpcGatewayRows())

	oldBackend.Stop()
	ourBackend.Stop()
	compare(t, old, ours, grpcGatewayDown())
}

// TestGRPCGatewayKept: the last column of the table keeps what it says.
func TestGRPCGatewayKept(t *testing.T) {
	ours, _ := startOurs(t, `
		request_header -Accept
		header {
			-Retry-After
			-Vary
			-X-Content-Type-Options
			-X-Accel-Buffering
		}
		grpc_gateway UPSTREAM {
			compat grpc-gateway
			cross_site allow
			fully_decode_reserved_expansion on
			json {
				max_depth 10000
			}
			metadata {
				request -x-forwarded-proto
			}
		}`)
	keep(t, ours, grpcGatewayRows())
}

func grpcGatewayRows() []row {
	return []row{
		// Templates.
		{name: "a variable of several segments", call: "GET /v1/shelves/1/books/1", has: `"title":"Emma"`, rule: compact},
		{name: "a variable of one segment", call: "GET /v1/echo/hello", has: `"text":"hello"`, rule: compact},
		{name: "an additional binding", call: "GET /v1/books/none", status: 404, has: `no book \"none\"`, rule: compact},
		{name: "a rest of the path", call: "GET /v1/files/a/b/c", has: `"path":"a/b/c"`, rule: compact},
		{name: "an empty rest of the path", call: "GET /v1/files/", has: `"path":""`, rule: compact},
		{name: "a rest with empty segments", call: "GET /v1/files/a//b", has: `"path":"a//b"`, rule: compact},
		{name: "a verb", call: "POST /v1/echo/loud:shout", body: `{"value":"v"}`, has: `"nested":{"value":"v",`, rule: compact},
		{name: "a colon in a variable", call: "GET /v1/echo/loud:whisper", has: `"text":"loud:whisper"`, rule: compact},
		{name: "a verb after a literal", call: "GET /v1/shelves:titles", has: `[{"name":"shelves/1/books/1"`, rule: compact},
		{name: "a number in the path", call: "GET /v1/stream/1", has: `"count":1`, rule: compact},
		{name: "no number in the path", call: "GET /v1/stream/x", status: 400, has: `"code":3`, rule: wording},
		{name: "a slash at the end", call: "GET /v1/echo/a/", status: 404, has: `"code":5`, rule: wording},

		// Percent-encoding.
		{name: "an encoded space", call: "GET /v1/echo/a%20b", has: `"text":"a b"`, rule: compact},
		{name: "an encoded percent sign", call: "GET /v1/echo/a%252Fb", has: `"text":"a%2Fb"`, rule: compact},
		{name: "encoded UTF-8", call: "GET /v1/echo/%C3%A9", has: `"text":"é"`, rule: compact},
		{name: "a plus in the path", call: "GET /v1/echo/a+b", has: `"text":"a+b"`, rule: compact},
		{name: "encoded reserved characters", call: "GET /v1/echo/a%3Fb%23c", has: `"text":"a?b#c"`, rule: compact},
		{name: "an encoded slash", call: "GET /v1/echo/a%2Fb", doc: "A slash as `%2F` in the path",
			old: &said{status: 404}, ours: &said{has: `"text":"a/b"`}},
		{name: "an encoded slash in a rest", call: "GET /v1/files/a%2Fb", doc: "A slash as `%2F` in the path",
			old: &said{has: `"path":"a/b"`}, ours: &said{has: `"path":"a%2Fb"`}, kept: &said{has: `"path":"a/b"`}},
		{name: "bytes that are not UTF-8", call: "GET /v1/echo/%ff", doc: "A path that is not UTF-8",
			old: &said{status: 500, has: `{"code":13,`}, ours: &said{status: 400, has: `{"code":3,`}},

		// Bodies.
		{name: "every kind of field", call: "POST /v1/echo", body: everything, has: `"maybeNumber":0`, rule: compact},
		{name: "names of the .proto file", call: "POST /v1/echo", body: `{"maybe_number":1,"renamed_field":"r"}`, has: `"otherName":"r"`, rule: compact},
		{name: "NaN and infinities", call: "POST /v1/echo", body: `{"ratio":"NaN","small":"-Infinity"}`, has: `"ratio":"NaN"`, rule: compact},
		{name: "large and small numbers", call: "POST /v1/echo", body: `{"ratio":1e21,"small":1e-7,"big":1e3,"count":2.0}`, has: `"ratio":1e+21`, rule: compact},
		{name: "bytes in base64url", call: "POST /v1/echo", body: `{"data":"-_8"}`, has: `"data":"+/8="`, rule: compact},
		{name: "null for every kind", call: "POST /v1/echo", body: `{"text":null,"list":null,"nested":null,"value":null,"wrapped":null}`, has: `"text":""`, rule: compact},
		{name: "an empty message in a oneof", call: "POST /v1/echo", body: `{"middle":{}}`, has: `"middle":{`, rule: compact},
		{name: "an enum value without a name", call: "POST /v1/echo", body: `{"genre":77}`, has: `"genre":77`, rule: compact},
		{name: "no body", call: "POST /v1/echo", has: `"text":""`, rule: compact},
		{name: "a body of white space", call: "POST /v1/echo", body: " \n", has: `"text":""`, rule: compact},
		{name: "an empty object", call: "POST /v1/echo", body: `{}`, has: `"text":""`, rule: compact},
		{name: "null as the body", call: "POST /v1/echo", body: `null`, status: 400, rule: wording},
		{name: "an array as the body", call: "POST /v1/echo", body: `[]`, status: 400, has: `"code":3`, rule: wording},
		{name: "unknown fields", call: "POST /v1/echo", body: `{"text":"a","nonsense":{"x":[1]},"nested":{"nonsense":1}}`, has: `"text":"a"`, rule: compact},
		{name: "an unknown name of an enum", call: "POST /v1/echo", body: `{"genre":"COMIC"}`, has: `"genre":"GENRE_UNSPECIFIED"`, rule: compact},
		{name: "text after the JSON", call: "POST /v1/echo", body: `{"text":"a"} trailing`, has: `"text":"a"`, rule: compact},
		{name: "a second JSON value", call: "POST /v1/echo", body: `{"text":"a"}{"text":"b"}`, has: `"text":"a"`, rule: compact},
		{name: "a cut body", call: "POST /v1/echo", body: `{"text":`, status: 400, has: `"code":3`, rule: wording},
		{name: "a wrong type", call: "POST /v1/echo", body: `{"count":"x"}`, status: 400, has: `"code":3`, rule: wording},
		{name: "a number that is too large", call: "POST /v1/echo", body: `{"count":2147483648}`, status: 400, has: `"code":3`, rule: wording},
		{name: "a field twice", call: "POST /v1/echo", body: `{"text":"a","text":"b"}`, status: 400, has: `"code":3`, rule: wording},
		{name: "two members of a oneof", call: "POST /v1/echo", body: `{"left":"a","right":1}`, status: 400, has: `"code":3`, rule: wording},
		{name: "a body of text", call: "POST /v1/echo:text", body: `"hi"`, has: `"hi"`, rule: compact},
		{name: "a body in a field", call: "POST /v1/shelves/7/books?book_id=x&bookId=x", body: `{"title":"T"}`, status: 400, rule: wording},
		{name: "a message in a field, and the query", call: "POST /v1/shelves/7/books?book_id=1", body: `{"title":"T","pages":"12"}`, has: `"name":"shelves/7/books/1"`, rule: compact},
		{name: "what exists already", call: "POST /v1/shelves/7/books?book_id=1", body: `{}`, status: 409, has: `there is a book`, rule: compact},
		{name: "an answer without fields", call: "DELETE /v1/shelves/7/books/1", has: `{}`, rule: compact},
		{name: "a PATCH makes its mask", call: "PATCH /v1/shelves/1/books/2", body: `{"pages":"881"}`, has: `"author":"George Eliot"`, rule: compact},
		{name: "a PATCH with a mask", call: "PATCH /v1/shelves/1/books/2?updateMask=pages", body: `{"title":"X","pages":"880"}`, has: `"title":"Middlemarch"`, rule: compact},
		{name: "a PATCH of a nested body", call: "PATCH /v1/shelves/1/books/2", body: `{"labels":{"a":"b"},"published":null}`, has: `"labels":{"a":"b"}`, rule: compact},
		{name: "a PUT", call: "PUT /v1/shelves/1/books/2", body: `{"title":"New"}`, has: `"author":""`, rule: compact},
		{name: "the query beside a whole body", call: "POST /v1/echo?text=x", body: `{}`, has: `"text":""`, rule: compact},

		// Types and codings of bodies.
		{name: "a body of type text/plain", call: "POST /v1/echo", headers: "Content-Type: text/plain", body: `{"text":"a"}`, has: `"text":"a"`, rule: compact},
		{name: "a body of an unknown type", call: "POST /v1/echo", headers: "Content-Type: application/x-unknown; a=b", body: `{"text":"a"}`, has: `"text":"a"`, rule: compact},
		{name: "a malformed content type", call: "POST /v1/echo", headers: "Content-Type: ;;", body: `{"text":"a"}`, has: `"text":"a"`, rule: compact},
		{name: "another charset", call: "POST /v1/echo", headers: "Content-Type: application/json; charset=latin1", body: `{"text":"a"}`, has: `"text":"a"`, rule: compact},
		{name: "a form to a route with a body", call: "POST /v1/echo", headers: "Content-Type: application/x-www-form-urlencoded", body: `text=a`, status: 400, has: `"code":3`, rule: wording},
		{name: "JSON that says it is a form", call: "POST /v1/echo", headers: "Content-Type: application/x-www-form-urlencoded", body: `{"text":"a"}`, has: `"text":"a"`, rule: compact},
		{name: "a packed body", call: "POST /v1/echo", headers: "Content-Encoding: gzip", body: packed(`{}`), doc: "A packed body",
			old: &said{status: 400, has: `{"code":3,`}, ours: &said{has: `"text":""`}},

		// Queries.
		{name: "nested fields", call: "GET /v1/echo?nested.value=a&nested.child.value=b", has: `"child":{"value":"b"`, rule: compact},
		{name: "lists", call: "GET /v1/echo?list=a&list=b&nested.numbers=1&nested.numbers=2&genres=1&genres=POETRY", has: `"list":["a","b"]`, rule: compact},
		{name: "a JSON name in the query", call: "GET /v1/echo?otherName=a&maybeNumber=1", has: `"otherName":"a"`, rule: compact},
		{name: "a name of the .proto file in the query", call: "GET /v1/echo?renamed_field=a&maybe_number=1", has: `"otherName":"a"`, rule: compact},
		{name: "both names of a field", call: "GET /v1/echo?otherName=a&renamed_field=b", status: 400, has: `"code":3`, rule: wording},
		{name: "enums by name and number", call: "GET /v1/echo?genre=NOVEL&genres=2", has: `"genre":"NOVEL"`, rule: compact},
		{name: "an enum that does not exist", call: "GET /v1/echo?genre=COMIC", doc: "A parameter that fits no field or name",
			old: &said{status: 400, has: `{"code":3,`}, ours: &said{has: `"genre":"GENRE_UNSPECIFIED"`}},
		{name: "well-known types", call: "GET /v1/echo?at=2024-01-02T03:04:05Z&lag=1.5s&mask=title,author.name&wrapped=w&wrapped_number=5", has: `"wrappedNumber":"5"`, rule: compact},
		{name: "other durations", call: "GET /v1/echo?lag=1m30s", has: `"lag":"90s"`, rule: compact},
		{name: "structs and values", call: "GET /v1/echo?object=%7B%22a%22:1%7D&value=%22x%22", has: `"object":{"a":1}`, rule: compact},
		{name: "a map", call: "GET /v1/echo?labels[a]=1&labels[b]=2", has: `"labels":{"a":"1","b":"2"}`, rule: compact},
		{name: "numbers and bytes", call: "GET /v1/echo?big=-1&huge=1&ratio=1e3&small=0.5&zig=-1&fixed=2&data=AP8%3D", has: `"data":"AP8="`, rule: compact},
		{name: "bytes in base64url in the query", call: "GET /v1/echo?data=-_8%3D", has: `"data":"+/8="`, rule: compact},
		{name: "NaN in the query", call: "GET /v1/echo?ratio=NaN", has: `"ratio":"NaN"`, rule: compact},
		{name: "a bool", call: "GET /v1/echo?flag=true", has: `"flag":true`, rule: compact},
		{name: "other words for true", call: "GET /v1/echo?flag=1", has: `"flag":true`, rule: compact},
		{name: "an empty text with presence", call: "GET /v1/echo?maybe=", has: `"maybe":""`, rule: compact},
		{name: "an empty number", call: "GET /v1/echo?count=", status: 400, has: `"code":3`, rule: wording},
		{name: "a parameter twice", call: "GET /v1/echo?text=a&text=b", status: 400, has: `"code":3`, rule: wording},
		{name: "two members of a oneof in the query", call: "GET /v1/echo?left=a&right=1", status: 400, has: `"code":3`, rule: wording},
		{name: "an unknown parameter", call: "GET /v1/echo?nonsense=1&a.b=2&text=a", has: `"text":"a"`, rule: compact},
		{name: "a path below a text", call: "GET /v1/echo?text.x=1", doc: "A parameter that fits no field or name",
			old: &said{status: 400, has: `{"code":3,`}, ours: &said{has: `"text":""`}},
		{name: "a message as a parameter", call: "GET /v1/echo?nested=x", status: 400, has: `"code":3`, rule: wording},
		{name: "a plus and its code", call: "GET /v1/echo?text=a+b%2Bc", has: `"text":"a b+c"`, rule: compact},
		{name: "a semicolon in the query", call: "GET /v1/echo?text=1;count=2", doc: "A semicolon in the query",
			old: &said{status: 400, has: `{"code":3,"message":"invalid semicolon separator in query"`}, ours: &said{has: `"text":"1;count=2"`}},
		{name: "bad encoding in the query", call: "GET /v1/echo?text=%zz", status: 400, has: `"code":3`, rule: wording},
		{name: "what the path binds, again", call: "GET /v1/echo/a?text=a", has: `"text":"a"`, rule: compact},
		{name: "what the path binds, differently", call: "GET /v1/echo/a?text=b", has: `"text":"a"`, rule: compact},
		{name: "a system parameter", call: "GET /v1/echo/a?$alt=json", has: `"text":"a"`, rule: compact},
		{name: "a parameter that others reserve", call: "GET /v1/echo/a?key=1&alt=media&fields=text", has: `"text":"a"`, rule: compact},

		// Forms.
		{name: "a form to a GET route", call: "POST /v1/echo/a", headers: "Content-Type: application/x-www-form-urlencoded", body: "count=2&list=x", has: `"count":2`, rule: compact},
		{name: "a form and the query", call: "POST /v1/echo/a?count=2", headers: "Content-Type: application/x-www-form-urlencoded", body: "list=x", has: `"count":2`, rule: compact},
		{name: "another method in a form", call: "POST /v1/shelves/2/books/3", headers: "Content-Type: application/x-www-form-urlencoded|X-HTTP-Method-Override: get", body: "a=b", has: `"title":"Leaves of Grass"`, rule: compact},
		{name: "another method without a form", call: "POST /v1/shelves/2/books/3", headers: "X-HTTP-Method-Override: GET", doc: "A known path, another method",
			old: &said{status: 501, has: `{"code":12,`, header: "Allow"}, ours: &said{status: 501, has: `{"code":12,`, header: "Allow: DELETE, GET, HEAD, OPTIONS, PATCH, PUT"}},
		{name: "a form with a charset", call: "POST /v1/echo/a", headers: "Content-Type: application/x-www-form-urlencoded; charset=utf-8", body: "count=2", doc: "A form with a charset, to a GET route",
			old: &said{status: 501, has: `{"code":12,`}, ours: &said{has: `"count":2`}},

		// Methods and routes.
		{name: "an unknown path", call: "GET /v1/nowhere", status: 404, has: `"code":5`, rule: wording},
		{name: "the root", call: "GET /", status: 404, has: `"code":5`, rule: wording},
		{name: "a known path, another method", call: "PUT /v1/echo", doc: "A known path, another method",
			old: &said{status: 501, body: `{"code":12,"message":"Method Not Allowed","details":[]}`, header: "Allow"}, ours: &said{status: 501, has: `{"code":12,`, header: "Allow: GET, HEAD, OPTIONS, POST, REPORT"}},
		{name: "HEAD", call: "HEAD /v1/echo/a", doc: "HEAD on a GET route",
			old: &said{status: 501}, ours: &said{header: "Content-Type: application/json"}},
		{name: "OPTIONS", call: "OPTIONS /v1/echo/a", doc: "OPTIONS",
			old: &said{status: 501, has: `{"code":12,`, header: "Allow"}, ours: &said{status: 204, header: "Allow: GET, HEAD, OPTIONS"}},
		{name: "the method's name", call: "POST /gateway.test.v1.Echo/Unary", body: `{}`, status: 404, has: `"code":5`, rule: wording},
		{name: "a page of another site", call: "POST /v1/echo", headers: "Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: cors|Origin: https://other.example", body: `{"text":"a"}`, doc: "A page of another site",
			old: &said{has: `"text":"a"`}, ours: &said{status: 403, has: `{"code":7,`}, kept: &said{has: `"text":"a"`}},
		{name: "an Accept that allows no JSON", call: "GET /v1/echo/a", headers: "Accept: text/html", has: `"text":"a"`, rule: compact},
		{name: "If-None-Match", call: "GET /v1/echo/a", headers: `If-None-Match: *`, has: `"text":"a"`, rule: compact},

		// Metadata.
		{name: "metadata by its prefix", call: "GET /v1/echo/a", headers: "Grpc-Metadata-X-Tenant: t", has: `"x-tenant":"t"`, rule: compact},
		{name: "binary metadata", call: "GET /v1/echo/a", headers: "Grpc-Metadata-X-Bin: AP8", has: `"x-bin":"AP8="`, rule: compact},
		{name: "authorization", call: "GET /v1/echo/a", headers: "Authorization: Bearer x", has: `"grpcgateway-authorization":"Bearer x"`, rule: compact},
		{name: "permanent headers", call: "GET /v1/echo/a", headers: "Cookie: a=b|Accept-Language: de|Origin: http://127.0.0.1:80|Referer: http://127.0.0.1:80/x", has: `"grpcgateway-cookie":"a=b"`, rule: compact},
		{name: "all other headers", call: "GET /v1/echo/a", headers: "X-Tenant: t|Traceparent: 00-11111111111111111111111111111111-1111111111111111-01", has: `"text":"a"`, rule: compact},
		{name: "a header that claims to be the gateway's", call: "GET /v1/echo/a", headers: "Grpcgateway-Cookie: forged|Grpc-Metadata-Grpcgateway-Cookie: forged", has: `"text":"a"`, rule: compact},
		{name: "a header with two values", call: "GET /v1/echo/a", headers: "Grpc-Metadata-X: 1|Grpc-Metadata-X: 2", has: `"x":"1, 2"`, rule: compact},
		{name: "X-Forwarded-For", call: "GET /v1/echo/a", headers: "X-Forwarded-For: 192.0.2.1", doc: "`X-Forwarded-For` of the client",
			old: &said{has: `"x-forwarded-for":"192.0.2.1, 127.0.0.1"`}, ours: &said{has: `"x-forwarded-for":"127.0.0.1"`}},
		{name: "response metadata", call: "POST /v1/echo", body: `{"script":{"headers":{"x-a":"1","x-b":"2"}}}`, has: `"headers":{`, rule: compact},
		{name: "binary response metadata", call: "POST /v1/echo", body: `{"script":{"headers":{"x-bin":"YWI="}}}`, doc: "Binary metadata in answers",
			old: &said{header: "Grpc-Metadata-X-Bin: ab"}, ours: &said{header: "Grpc-Metadata-X-Bin: YWI"}},
		{name: "trailers for who wants them", call: "POST /v1/echo", headers: "TE: trailers", body: `{"script":{"headers":{"x-a":"1"},"trailers":{"total":"3"}}}`, has: `"trailers":{`, rule: compact},
		{name: "trailers for others", call: "POST /v1/echo", body: `{"script":{"trailers":{"total":"3"}}}`, has: `"trailers":{`, rule: compact},
		{name: "the reserved response headers", call: "POST /v1/echo", body: `{"script":{"headers":{"location":"/x","set-cookie":"a=b","content-language":"de"}}}`, has: `"headers":{`, rule: compact},

		// Errors.
		{name: "an error", call: "POST /v1/echo", body: `{"script":{"failCode":5,"failMessage":"no \"x\" <here>"}}`, status: 404, has: `no \"x\"`, rule: compact},
		{name: "CANCELLED", call: "POST /v1/echo", body: `{"script":{"failCode":1,"failMessage":"m"}}`, status: 499, rule: compact},
		{name: "UNKNOWN", call: "POST /v1/echo", body: `{"script":{"failCode":2,"failMessage":"m"}}`, status: 500, rule: compact},
		{name: "INVALID_ARGUMENT", call: "POST /v1/echo", body: `{"script":{"failCode":3,"failMessage":"m"}}`, status: 400, rule: compact},
		{name: "DEADLINE_EXCEEDED", call: "POST /v1/echo", body: `{"script":{"failCode":4,"failMessage":"m"}}`, status: 504, rule: compact},
		{name: "PERMISSION_DENIED", call: "POST /v1/echo", body: `{"script":{"failCode":7,"failMessage":"m"}}`, status: 403, rule: compact},
		{name: "RESOURCE_EXHAUSTED", call: "POST /v1/echo", body: `{"script":{"failCode":8,"failMessage":"m"}}`, status: 429, rule: compact},
		{name: "FAILED_PRECONDITION", call: "POST /v1/echo", body: `{"script":{"failCode":9,"failMessage":"m"}}`, status: 400, rule: compact},
		{name: "ABORTED", call: "POST /v1/echo", body: `{"script":{"failCode":10,"failMessage":"m"}}`, status: 409, rule: compact},
		{name: "OUT_OF_RANGE", call: "POST /v1/echo", body: `{"script":{"failCode":11,"failMessage":"m"}}`, status: 400, rule: compact},
		{name: "UNIMPLEMENTED", call: "POST /v1/echo", body: `{"script":{"failCode":12,"failMessage":"m"}}`, status: 501, rule: compact},
		{name: "INTERNAL", call: "POST /v1/echo", body: `{"script":{"failCode":13,"failMessage":"m"}}`, status: 500, rule: compact},
		{name: "UNAVAILABLE", call: "POST /v1/echo", body: `{"script":{"failCode":14,"failMessage":"m"}}`, status: 503, rule: compact},
		{name: "DATA_LOSS", call: "POST /v1/echo", body: `{"script":{"failCode":15,"failMessage":"m"}}`, status: 500, rule: compact},
		{name: "a code that does not exist", call: "POST /v1/echo", body: `{"script":{"failCode":77,"failMessage":"m"}}`, status: 500, has: `"code":77`, rule: compact},
		{name: "UNAUTHENTICATED", call: "POST /v1/echo", body: `{"script":{"failCode":16,"failMessage":"log in"}}`, doc: "`WWW-Authenticate` on 401",
			old: &said{status: 401, has: `{"code":16,"message":"log in"`, header: "WWW-Authenticate: log in"}, ours: &said{status: 401, has: `{"code":16,"message":"log in"`, header: "WWW-Authenticate: Bearer"}},
		{name: "an error with violations", call: "POST /v1/echo", body: `{"script":{"failCode":3,"failMessage":"m","failBadRequest":true}}`, status: 400, has: `"fieldViolations":[{"field":"text"`, rule: compact},
		{name: "an error with RetryInfo", call: "POST /v1/echo", body: `{"script":{"failCode":14,"failMessage":"m","failRetryAfter":"2s"}}`, doc: "`Retry-After`",
			old: &said{status: 503, has: `"retryDelay":"2s"`, header: "Retry-After"}, ours: &said{status: 503, has: `"retryDelay":"2s"`, header: "Retry-After: 2"}, kept: &said{status: 503, header: "Retry-After"}},
		{name: "an error with metadata", call: "POST /v1/echo", body: `{"script":{"failCode":5,"failMessage":"m","headers":{"x-a":"1"},"trailers":{"x-t":"2"}}}`, status: 404, has: `"code":5`, rule: compact},
		{name: "an error with trailers for who wants them", call: "POST /v1/echo", headers: "TE: trailers", body: `{"script":{"failCode":5,"failMessage":"m","headers":{"x-a":"1"},"trailers":{"x-t":"2"}}}`, status: 404, has: `"code":5`, rule: compact},

		// What no other row compares.
		{name: "X-Forwarded-Proto", call: "GET /v1/echo/a", doc: "`X-Forwarded-Proto`",
			old: &said{lacks: "x-forwarded-proto"}, ours: &said{has: `"x-forwarded-proto":"http"`}, kept: &said{has: `"text":"a"`, lacks: "x-forwarded-proto"}},
		{name: "headers of an error", call: "GET /v1/nowhere", doc: "Headers of this gateway's own",
			old:  &said{status: 404, header: "Vary|X-Content-Type-Options"},
			ours: &said{status: 404, header: "Vary: Accept|X-Content-Type-Options: nosniff"}, kept: &said{status: 404, header: "Vary|X-Content-Type-Options"}},
		{name: "headers of a stream", call: "GET /v1/stream/1", doc: "Headers of this gateway's own",
			old: &said{header: "Vary|X-Accel-Buffering"}, ours: &said{header: "Vary: Accept|X-Accel-Buffering: no"}, kept: &said{header: "Vary|X-Accel-Buffering"}},
		{name: "the text of an unknown path", call: "GET /v1/nowhere", doc: "The texts of the gateway's errors",
			old:  &said{status: 404, body: `{"code":5,"message":"Not Found","details":[]}`},
			ours: &said{status: 404, body: `{"code":5,"message":"no route for GET /v1/nowhere","details":[]}`}},
		{name: "the text of a wrong value", call: "GET /v1/stream/x", doc: "The texts of the gateway's errors",
			old:  &said{status: 400, has: `type mismatch, parameter: count, error: strconv.ParseInt`},
			ours: &said{status: 400, has: `path variable count: /count: expected an integer`}},

		// Deadlines.
		{name: "no deadline", call: "GET /v1/echo/a", has: `"deadlineMs":"0"`, rule: compact},
		{name: "a deadline that passes", call: "POST /v1/echo", headers: "Grpc-Timeout: 50m", body: `{"script":{"delay":"5s"}}`, status: 504, has: `"code":4`, rule: either},
		{name: "a malformed deadline", call: "GET /v1/echo/a", headers: "Grpc-Timeout: soon", status: 400, has: `"code":3`, rule: wording},

		// Streams.
		{name: "a stream from the server", call: "GET /v1/stream/3", has: `{"result":{`, rule: compact},
		{name: "a stream by POST", call: "POST /v1/stream", body: `{"count":2,"text":"x"}`, has: `{"result":{`, rule: compact},
		{name: "a stream without messages", call: "GET /v1/stream/0", doc: "A stream without messages",
			old: &said{header: "Content-Type"}, ours: &said{header: "Content-Type: application/json"}},
		{name: "a stream for an event source", call: "GET /v1/stream/2", headers: "Accept: text/event-stream", doc: "A stream for `Accept: text/event-stream`",
			old: &said{has: `{"result":{`, header: "Content-Type: application/json"}, ours: &said{has: "id: 1\ndata: {", header: "Content-Type: text/event-stream"}, kept: &said{has: `{"result":{`, header: "Content-Type: application/json"}},
		{name: "a stream as an array", call: "GET /v1/stream/2", headers: "Accept: application/json", has: `{"result":{`, rule: compact},
		{name: "an error before the first message", call: "POST /v1/stream", body: `{"count":2,"script":{"failCode":5,"failMessage":"m"}}`, status: 404, has: `"code":5`, rule: compact},
		{name: "an error within a stream", call: "POST /v1/stream", body: `{"count":2,"script":{"failCode":5,"failMessage":"m","failAfter":1,"failBadRequest":true}}`, has: `{"error":{"code":5`, rule: compact},
		{name: "a stream with metadata", call: "POST /v1/stream", headers: "TE: trailers", body: `{"count":1,"script":{"headers":{"x-a":"1"},"trailers":{"total":"3"}}}`, doc: "Trailers of a stream",
			old: &said{has: `{"result":{`, trailer: "Grpc-Trailer-Total"}, ours: &said{has: `{"result":{`, trailer: "Grpc-Trailer-Total: 3"}},
		{name: "lines from the client", call: "POST /v1/collect", body: "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", has: `"text":"a,b"`, rule: compact},
		{name: "values from the client without lines", call: "POST /v1/collect", body: `{"text":"a"} {"text":"b"}{"text":"c"}`, has: `"text":"a,b,c"`, rule: compact},
		{name: "nothing from the client", call: "POST /v1/collect", has: `"number":0`, rule: compact},
		{name: "a bad line from the client", call: "POST /v1/collect", body: "{\"text\":\"a\"}\n{\"text\":", status: 400, has: `"code":3`, rule: wording},
		{name: "an array from the client", call: "POST /v1/collect", body: `[{"text":"a"},{"text":"b"}]`, doc: "An array as a stream of requests",
			old: &said{status: 400, has: `{"code":3,`}, ours: &said{has: `"text":"a,b"`}},
		{name: "an error for a client's stream", call: "POST /v1/collect", body: `{"script":{"failCode":9,"failMessage":"m"}}`, status: 400, has: `"code":9`, rule: compact},
		{name: "a stream in both directions", call: "POST /v1/chat", body: "{\"text\":\"a\"}\n{\"text\":\"b\",\"count\":2}\n", has: `{"result":{"text":"b"`, rule: compact},
		{name: "an error in both directions", call: "POST /v1/chat", body: `{"text":"a","count":2,"script":{"failCode":5,"failMessage":"m","failAfter":1}}`, has: `{"error":{"code":5`, rule: compact},

		// google.api.HttpBody.
		{name: "raw bytes from the server", call: "GET /v1/download/1", doc: "A stream of HttpBody",
			old: &said{body: "chunk 1\n\n"}, ours: &said{body: "chunk 1\n"}},
		{name: "many raw bytes from the server", call: "GET /v1/download/3", doc: "A stream of HttpBody",
			old: &said{body: "chunk 1\n\nchunk 2\n\nchunk 3\n\n"}, ours: &said{body: "chunk 1\nchunk 2\nchunk 3\n"}},
		{name: "an upload as JSON", call: "POST /v1/upload/n", body: `{"contentType":"text/x-a","data":"aGk="}`, doc: "HttpBody in a request",
			old: &said{body: "hi", header: "Content-Type: text/x-a"}, ours: &said{body: `{"contentType":"text/x-a","data":"aGk="}`, header: "Content-Type: application/octet-stream"}},
		{name: "a raw upload", call: "POST /v1/upload/n", headers: "Content-Type: image/x-raw", body: "raw", doc: "HttpBody in a request",
			old: &said{status: 400, has: `{"code":3,`}, ours: &said{body: "raw", header: "Content-Type: image/x-raw"}},

		// Sizes.
		{name: "a large body", call: "POST /v1/echo", body: `{"text":"` + strings.Repeat("a", 5<<20) + `"}`, status: 429, has: `"code":8`, rule: wording},
		{name: "a large answer", call: "POST /v1/echo", body: `{"script":{"filler":5242880}}`, status: 429, has: `"code":8`, rule: wording},
		{name: "a deep body", call: "POST /v1/echo", body: `{"nested":` + strings.Repeat(`{"child":`, 200) + `{}` + strings.Repeat("}", 201), doc: "A body of more than 100 levels",
			old: &said{has: `"child":{`}, ours: &said{status: 400, has: `{"code":3,`}, kept: &said{has: `"child":{`}},
	}
}

// grpcGatewayDown are the rows for a service that cannot be reached.
func grpcGatewayDown() []row {
	return []row{
		{name: "a service that is down", call: "GET /v1/echo/a", doc: "A service that is down",
			old: &said{status: 503, has: `{"code":14,`, header: "Retry-After"}, ours: &said{status: 503, has: "no instance of the service can be reached", header: "Retry-After: 1"}},
	}
}

// TestGRPCGatewayGuide: docs/migrating.md has each difference, and no others.
func TestGRPCGatewayGuide(t *testing.T) {
	documented(t, "From grpc-gateway", slices.Concat(grpcGatewayRows(), grpcGatewayDown()))
}
