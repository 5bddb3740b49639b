package policy

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// outcome is what must become of an attempt.
type outcome string

const (
	inside  outcome = "inside"  // the block has run, and then the backend was called
	refused outcome = "refused" // the backend was not called
	either  outcome = "either"
)

// attempt is a request that tries to come to a method without its block.
type attempt struct {
	name string
	raw
	want outcome
	only string // the beginning of the names of the versions of HTTP that can say this; "": all
}

const (
	echo    = "/gateway.test.v1.Echo/"
	unary   = echo + "Unary"
	books   = "/gateway.test.v1.Library/GetBook"
	hidden  = "/hidden.v1.Secret/Do"
	asJSON  = "Content-Type: application/json"
	hello   = `{"text":"hello"}`
	connect = "Connect-Protocol-Version: 1"
)

// wire is an EchoRequest with a text.
const wire = "\x0a\x05hello"

// frame is a message as gRPC, gRPC-Web and streams of Connect have it.
func frame(message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message
}

// call is an attempt; line is "METHOD target".
func call(name, line string, want outcome, body string, headers ...string) attempt {
	method, target, _ := strings.Cut(line, " ")
	return attempt{name: name, raw: raw{method, target, headers, body}, want: want}
}

// over limits attempts to some versions of HTTP.
func over(only string, attempts ...attempt) []attempt {
	for i := range attempts {
		attempts[i].only = only
	}
	return attempts
}

// attempts are all of them.
func attempts() []attempt {
	var all []attempt
	for _, some := range [][]attempt{
		routes(), methods(), names(), contentTypes(), streams(), connectGet(), queries(), overrides(), connection(), sockets(), targets(), schemaless(),
	} {
		all = append(all, some...)
	}
	return all
}

// routes are the HTTP rules of the methods, and routes of the config.
func routes() []attempt {
	return []attempt{
		call("a route", "POST /v1/echo", inside, hello, asJSON),
		call("a route with a variable", "GET /v1/echo/hello", inside, ""),
		call("a route without a variable", "GET /v1/echo?text=hello", inside, ""),
		call("a variable of several segments", "GET /v1/files/a/b/c", inside, ""),
		call("a verb", "POST /v1/echo/hello:shout", inside, `{"value":"x"}`, asJSON),
		call("a verb of the collection", "POST /v1/echo:text", inside, `"hello"`, asJSON),
		call("a custom HTTP method", "REPORT /v1/echo", inside, hello, asJSON),
		call("HEAD", "HEAD /v1/echo/hello", inside, ""),
		call("an encoded letter in a route", "GET /v1/%65cho/hello", either, ""),
		call("an encoded slash in a variable", "GET /v1/echo/a%2Fb", inside, ""),
		call("an encoded slash in a route", "GET /v1%2Fecho/hello", either, ""),
		call("an encoded percent sign", "GET /v1/%2565cho/hello", refused, ""),
		call("an encoded colon", "POST /v1/echo/hello%3Ashout", either, `{"value":"x"}`, asJSON),
		call("upper case", "GET /V1/ECHO/hello", refused, ""),
		call("a slash at the end", "POST /v1/echo/", either, hello, asJSON),
		call("two slashes", "GET //v1/echo/hello", refused, ""),
		call("two slashes inside", "GET /v1//echo/hello", refused, ""),
		call("a dot segment", "GET /v1/./echo/hello", refused, ""),
		call("two dots", "GET /v2/../v1/echo/hello", refused, ""),
		call("encoded dots", "GET /v2/%2e%2e/v1/echo/hello", refused, ""),
		call("dots in a variable", "GET /v1/files/../echo/hello", either, ""),
		call("encoded dots in a variable", "GET /v1/files/%2e%2e%2fecho", either, ""),
		call("a matrix parameter", "GET /v1/echo;x=y/hello", refused, ""),
		call("a backslash", `GET /v1\echo\hello`, refused, ""),
		call("a path of NUL", "GET /v1/echo/%00", either, ""),
		call("a fragment", "GET /v1/echo/hello#x", either, ""),
		call("another method's route", "GET /v1/shelves/1/books", inside, ""),
		call("a second rule", "GET /v1/books/1", inside, ""),
		call("a rule with POST", "POST /v1/shelves/1/books", inside, `{"title":"x"}`, asJSON),
		call("a rule with PATCH", "PATCH /v1/shelves/1/books/2", inside, `{"title":"x"}`, asJSON),
		call("a rule with PUT", "PUT /v1/shelves/1/books/2", inside, `{"title":"x"}`, asJSON),
		call("a rule with DELETE", "DELETE /v1/shelves/1/books/9", inside, ""),
		call("a route of the config", "GET /any/hello", inside, ""),
		call("a route of another upstream's path", "GET /hidden/hello", refused, ""),
	}
}

// methods are HTTP methods, where a route takes any and where it takes one.
func methods() []attempt {
	var all []attempt
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "X"} {
		all = append(all, call("any HTTP method: "+method, method+" /any/hello", inside, ""))
	}
	all = append(all, call("any HTTP method: HEAD", "HEAD /any/hello", inside, ""))
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "post", "POSTX"} {
		all = append(all, call("by name: "+method, method+" "+unary, refused, "", asJSON))
	}
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		all = append(all,
			call("gRPC by "+method, method+" "+unary, refused, frame(wire), "Content-Type: application/grpc", "TE: trailers"),
			call("gRPC-Web by "+method, method+" "+unary, refused, frame(wire), "Content-Type: application/grpc-web"),
			call("Connect by "+method, method+" "+unary, refused, hello, asJSON, connect))
	}
	return append(all,
		call("a preflight", "OPTIONS "+unary, refused, "", "Origin: https://app.example.com", "Access-Control-Request-Method: POST"),
		call("a preflight of a route with any method", "OPTIONS /any/hello", either, "", "Origin: https://app.example.com", "Access-Control-Request-Method: POST"),
		call("a page of another site", "POST "+unary, refused, hello, asJSON, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"),
		call("a listed page", "POST "+unary, inside, hello, asJSON, "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site"),
	)
}

// names are other ways to write the name of a method.
func names() []attempt {
	var all []attempt
	for name, target := range map[string]string{
		"lower case":           "/gateway.test.v1.echo/unary",
		"upper case":           "/GATEWAY.TEST.V1.ECHO/UNARY",
		"the method in lower":  echo + "unary",
		"two slashes":          "//gateway.test.v1.Echo/Unary",
		"two slashes inside":   "/gateway.test.v1.Echo//Unary",
		"a dot segment":        "/./gateway.test.v1.Echo/Unary",
		"a dot segment inside": echo + "./Unary",
		"two dots":             "/x/../gateway.test.v1.Echo/Unary",
		"encoded dots":         "/x/%2e%2e/gateway.test.v1.Echo/Unary",
		"a slash at the end":   unary + "/",
		"a dot at the end":     unary + ".",
		"a space at the end":   unary + "%20",
		"NUL at the end":       unary + "%00",
		"a line break":         unary + "%0d%0a",
		"a matrix parameter":   unary + ";x=y",
		"a backslash":          `/gateway.test.v1.Echo\Unary`,
		"dots for slashes":     "/gateway.test.v1.Echo.Unary",
		"a leading dot":        "/.gateway.test.v1.Echo/Unary",
		"a prefix":             "/api/gateway.test.v1.Echo/Unary",
		"encoded twice":        echo + "%2555nary",
		"an overlong encoding": echo + "%C1%95nary",
		"a wide letter":        echo + "%EF%BC%B5nary",
	} {
		all = append(all,
			call("name: "+name, "POST "+target, refused, hello, asJSON),
			call("name in Connect: "+name, "POST "+target, refused, hello, asJSON, connect),
			call("name in gRPC-Web: "+name, "POST "+target, either, frame(wire), "Content-Type: application/grpc-web"))
		grpc := call("name in gRPC: "+name, "POST "+target, either, frame(wire), "Content-Type: application/grpc", "TE: trailers")
		all = append(all, over("HTTP/2", grpc)...)
	}
	for name, target := range map[string]string{
		"an encoded letter": echo + "%55nary",
		"an encoded dot":    "/gateway%2Etest.v1.Echo/Unary",
		"an encoded slash":  "/gateway.test.v1.Echo%2FUnary",
		"all encoded":       "/%67%61%74%65%77%61%79%2e%74%65%73%74%2e%76%31%2e%45%63%68%6f/%55%6e%61%72%79",
	} {
		all = append(all,
			call("name: "+name, "POST "+target, either, hello, asJSON),
			call("name in Connect: "+name, "POST "+target, either, hello, asJSON, connect),
			call("name in gRPC-Web: "+name, "POST "+target, either, frame(wire), "Content-Type: application/grpc-web"))
	}
	return all
}

// contentTypes are the types of a body, which choose the protocol.
func contentTypes() []attempt {
	all := []attempt{
		call("no content type", "POST "+unary, inside, hello),
		call("form", "POST /v1/echo", inside, "text=hello", "Content-Type: application/x-www-form-urlencoded"),
		call("form by name", "POST "+unary, either, "text=hello", "Content-Type: application/x-www-form-urlencoded"),
		call("Connect, JSON", "POST "+unary, inside, hello, asJSON, connect),
		call("Connect by its timeout", "POST "+unary, inside, hello, asJSON, "Connect-Timeout-Ms: 5000"),
		call("Connect, binary", "POST "+unary, inside, wire, "Content-Type: application/proto"),
		call("Connect stream to a unary method", "POST "+unary, refused, frame(hello), "Content-Type: application/connect+json"),
		call("two content types", "POST "+unary, either, hello, asJSON, "Content-Type: application/grpc"),
		call("two content types, gRPC-Web first", "POST "+unary, either, frame(wire), "Content-Type: application/grpc-web", asJSON),
		call("gRPC-Web without a message", "POST "+unary, either, "", "Content-Type: application/grpc-web"),
	}
	for value, want := range map[string]outcome{
		"application/json": inside, "APPLICATION/JSON": inside, "application/json; charset=utf-8": inside,
		"application/vnd.api+json": inside, "text/json": inside,
		"application/json; charset=utf-16": refused, "text/plain": refused, "application/octet-stream": refused,
		"multipart/form-data": refused, "*/*": refused, "json": refused,
	} {
		all = append(all, call("content type "+value, "POST "+unary, want, hello, "Content-Type: "+value))
	}
	for value, want := range map[string]outcome{
		"application/grpc-web": inside, "application/grpc-web+proto": inside, "Application/gRPC-Web": inside, "application/grpc-web;x=y": inside,
		"application/grpc-webx": either, "application/grpc-web+thrift": refused,
	} {
		all = append(all, call("content type "+value, "POST "+unary, want, frame(wire), "Content-Type: "+value))
	}
	for value, want := range map[string]outcome{"application/grpc-web-text": inside, "application/grpc-web-text+proto": inside} {
		all = append(all, call("content type "+value, "POST "+unary, want, base64.StdEncoding.EncodeToString([]byte(frame(wire))), "Content-Type: "+value))
	}
	all = append(all, call("content type application/grpc-web+json", "POST "+unary, inside, frame(hello), "Content-Type: application/grpc-web+json"))
	for value, want := range map[string]outcome{
		"application/grpc": inside, "application/grpc+proto": inside, "APPLICATION/GRPC": inside, "application/grpc;x=y": inside,
		"application/grpc+thrift": refused, "application/grpcx": refused,
	} {
		grpc := call("content type "+value, "POST "+unary, want, frame(wire), "Content-Type: "+value, "TE: trailers")
		all = append(all, over("HTTP/2", grpc)...)
		all = append(all, over("HTTP/3", grpc)...)
		grpc.want = refused
		all = append(all, over("HTTP/1.1", grpc)...)
	}
	return all
}

// streams are the methods of several messages, in every protocol.
func streams() []attempt {
	const lines = "Content-Type: application/x-ndjson"
	all := []attempt{
		call("server stream", "GET /v1/stream/2", inside, ""),
		call("server stream as events", "GET /v1/stream/2", inside, "", "Accept: text/event-stream"),
		call("server stream as an array", "GET /v1/stream/2", inside, "", "Accept: application/json"),
		call("server stream by name", "POST "+echo+"ServerStream", inside, `{"count":2}`, asJSON),
		call("client stream", "POST /v1/collect", inside, hello, lines),
		call("client stream by name", "POST "+echo+"ClientStream", inside, hello, lines),
		call("bidi stream", "POST /v1/chat", inside, hello, lines),
		call("bidi stream by GET", "GET /v1/chat", inside, ""),
		call("bidi stream by name", "POST "+echo+"Bidi", inside, hello, lines),
		call("upload", "POST /v1/upload/x", inside, "bytes", "Content-Type: text/x-any"),
		call("upload by name", "POST "+echo+"Upload", either, `{"filename":"x"}`, asJSON),
		call("upload stream", "POST /v1/upload-stream", inside, "bytes", "Content-Type: text/x-any"),
		call("download", "GET /v1/download/2", inside, ""),
		call("download by HEAD", "HEAD /v1/download/2", inside, ""),
	}
	for _, method := range []string{"ServerStream", "ClientStream", "Bidi"} {
		all = append(all,
			call(method+" in Connect", "POST "+echo+method, inside, frame(hello), "Content-Type: application/connect+json", connect),
			call(method+" in gRPC-Web", "POST "+echo+method, inside, frame(wire), "Content-Type: application/grpc-web"))
		all = append(all, over("HTTP/2", call(method+" in gRPC", "POST "+echo+method, inside, frame(wire), "Content-Type: application/grpc", "TE: trailers"))...)
	}
	return all
}

// connectGet are calls of Connect by GET.
func connectGet() []attempt {
	const message = "%7B%22name%22%3A%22shelves%2F1%2Fbooks%2F1%22%7D"
	return []attempt{
		call("Connect GET", "GET "+books+"?connect=v1&encoding=json&message="+message, inside, ""),
		call("Connect GET without its version", "GET "+books+"?encoding=json&message="+message, inside, ""),
		call("Connect GET in base64", "GET "+books+"?connect=v1&encoding=json&base64=1&message="+base64.RawURLEncoding.EncodeToString([]byte(`{"name":"x"}`)), inside, ""),
		call("Connect GET, binary", "GET "+books+"?connect=v1&encoding=proto&base64=1&message="+base64.RawURLEncoding.EncodeToString([]byte("\x0a\x01x")), inside, ""),
		call("Connect GET with the version as a header", "GET "+books+"?encoding=json&message="+message, inside, "", connect),
		call("Connect GET with encoded parameters", "GET "+books+"?%65ncoding=json&%6dessage="+message, either, ""),
		call("Connect GET with a body", "GET "+books+"?connect=v1&encoding=json&message="+message, either, `{"name":"y"}`, asJSON),
		call("Connect GET by HEAD", "HEAD "+books+"?connect=v1&encoding=json&message="+message, either, ""),
		call("Connect GET by POST", "POST "+books+"?connect=v1&encoding=json&message="+message, either, `{"name":"y"}`, asJSON, connect),
		call("Connect GET of a method with side effects", "GET "+unary+"?connect=v1&encoding=json&message=%7B%7D", refused, ""),
		call("Connect GET of an encoded name", "GET /gateway.test.v1.Library/%47etBook?connect=v1&encoding=json&message="+message, either, ""),
		call("Connect GET on a route", "GET /v1/books/1?connect=v1&encoding=json&message="+message, refused, ""),
	}
}

// queries try to name another method or path in the query.
func queries() []attempt {
	var all []attempt
	for _, query := range []string{
		"method=gateway.test.v1.Echo/Unary", "_method=DELETE", "$httpMethod=DELETE", "%24httpMethod=DELETE", "x-http-method-override=GET",
		"path=/x", "url=/x", "connect=v1", "encoding=json", "$alt=json", "", "?", "&&&", "%",
	} {
		all = append(all,
			call("query of a route: "+query, "GET /v1/echo/hello?"+query, either, ""),
			call("query by name: "+query, "POST "+unary+"?"+query, either, hello, asJSON))
	}
	return all
}

// overrides are headers that some servers take for the HTTP method, the path, the host or the
// client.
func overrides() []attempt {
	var all []attempt
	for _, h := range []string{
		"X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET", "X-Original-URL: /v1/echo/x", "X-Rewrite-URL: /v1/echo/x",
		"X-Forwarded-Uri: /v1/echo/x", "X-Forwarded-Path: /v1/echo/x", "X-Forwarded-Prefix: /v1", "X-Forwarded-Method: GET", "X-Forwarded-For: 127.0.0.1",
		"X-Forwarded-Host: internal", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;host=internal", "X-Guard: spoofed", "x-guard: spoofed",
		"X_Guard: spoofed", "X.Guard: spoofed", "Grpc-Metadata-X-Guard: spoofed", "X-Guard-Bin: c3Bvb2Y", "Expect: 100-continue",
		"Content-Encoding: identity", "Accept: application/problem+json", "Accept: text/html", "If-None-Match: *", "Range: bytes=0-1",
		"Service-Worker: script", "Purpose: prefetch", "Early-Data: 1", "X-Request-Timeout: 5s",
	} {
		all = append(all,
			call("header by name: "+h, "POST "+unary, either, hello, asJSON, h),
			call("header of a route: "+h, "GET /v1/echo/hello", either, "", h),
			call("header with a wrong HTTP method: "+h, "POST /v1/echo/hello", refused, "", asJSON, h))
	}
	return append(all,
		call("the block's header twice", "GET /v1/echo/hello", inside, "", "X-Guard: a", "x-guard: b"),
		call("a thousand headers", "GET /v1/echo/hello", either, "", many("X-Many", 1000)...),
		call("a hundred values of the block's header", "GET /v1/echo/hello", inside, "", many("X-Guard", 100)...))
}

func many(name string, n int) []string {
	headers := make([]string, n)
	for i := range headers {
		headers[i] = fmt.Sprintf("%s: %d", name, i)
	}
	return headers
}

// connection are headers of the connection, and ways to send a body.
func connection() []attempt {
	all := over("HTTP/1.1",
		call("Connection names the block's header", "GET /v1/echo/hello", inside, "", "Connection: X-Guard"),
		call("Connection names it by name", "POST "+unary, inside, hello, asJSON, "Connection: close, x-guard"),
		call("Connection names it in Connect", "POST "+unary, inside, hello, asJSON, connect, "Connection: x-guard, close"),
		call("Connection names it in gRPC-Web", "POST "+unary, inside, frame(wire), "Content-Type: application/grpc-web", "Connection: X-Guard"),
		call("a second Connection names it", "GET /v1/echo/hello", inside, "", "Connection: keep-alive", "Connection: X-GUARD"),
		call("Connection names the content type", "POST "+unary, either, hello, asJSON, "Connection: Content-Type"),
		call("a body in chunks", "POST "+unary, inside, "10\r\n"+hello+"\r\n0\r\n\r\n", asJSON, "Transfer-Encoding: chunked"),
		call("trailers", "POST "+unary, inside, "10\r\n"+hello+"\r\n0\r\nX-Guard: spoofed\r\n\r\n", asJSON, "Transfer-Encoding: chunked", "Trailer: X-Guard"),
		call("chunks and a length", "POST "+unary, either, "10\r\n"+hello+"\r\n0\r\n\r\n", asJSON, "Content-Length: 5", "Transfer-Encoding: chunked"),
		call("two lengths", "POST "+unary, refused, hello, asJSON, "Content-Length: 16", "Content-Length: 5"),
		call("a second request in the body", "POST "+unary, inside, hello+"GET /v1/echo/x HTTP/1.1\r\nHost: x\r\nX-Attempt: second\r\n\r\n", asJSON, "Content-Length: 16"),
		call("HTTP/1.0", "GET /v1/echo/hello HTTP/1.0\r\nX-Rest:", inside, ""),
		call("HTTP/1.0 by name", "POST "+unary+" HTTP/1.0\r\nX-Rest:", inside, hello, asJSON),
		call("HTTP/0.9", "GET /v1/echo/hello\r\nX-Rest:", refused, ""),
		call("HTTP/2.0 in text", "GET /v1/echo/hello HTTP/2.0\r\nX-Rest:", refused, ""),
		call("an upgrade to h2c", "GET /v1/echo/hello", either, "", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
		call("an upgrade to something", "GET /v1/echo/hello", either, "", "Connection: Upgrade", "Upgrade: foo"),
		call("a space before the colon", "GET /v1/echo/hello", refused, "", "X-Guard : spoofed"),
		call("a folded header", "GET /v1/echo/hello", either, "", "X-Other: a\r\n X-Guard: spoofed"),
	)
	return append(all, over("HTTP/2",
		call("Connection over HTTP/2", "GET /v1/echo/hello", either, "", "Connection: x-guard"),
		call("TE over HTTP/2", "GET /v1/echo/hello", either, "", "TE: x-guard"),
		call("CONNECT of a WebSocket", "CONNECT /v1/echo/hello", refused, "", ":protocol: websocket", "Sec-WebSocket-Version: 13"),
	)...)
}

// sockets are handshakes of WebSockets. The body is the first frame of the client.
func sockets() []attempt {
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Content-Length: 0"}
	first := "\x81" + string([]byte{byte(0x80 | len(hello))}) + "\x00\x00\x00\x00" + hello
	with := func(instead string) []string { return append([]string{instead}, upgrade[1:]...) }
	return over("HTTP/1.1",
		call("WebSocket, unary", "GET /v1/echo/hello", inside, "", upgrade...),
		call("WebSocket, unary by name", "GET "+unary, inside, first, upgrade...),
		call("WebSocket, a route for POST", "GET /v1/upload/x", either, first, upgrade...),
		call("WebSocket, server stream", "GET /v1/stream/2", inside, "", upgrade...),
		call("WebSocket, server stream by name", "GET "+echo+"ServerStream", inside, first, upgrade...),
		call("WebSocket, client stream", "GET /v1/collect", inside, first+"\x81\x80\x00\x00\x00\x00", upgrade...),
		call("WebSocket, bidi stream", "GET /v1/chat", inside, first, upgrade...),
		call("WebSocket, a route with any method", "GET /any/hello", inside, "", upgrade...),
		call("WebSocket whose Connection names the block's header", "GET /v1/echo/hello", inside, "", with("Connection: Upgrade, X-Guard")...),
		call("WebSocket of another site", "GET /v1/echo/hello", refused, "", append(upgrade, "Origin: https://evil.example")...),
		call("WebSocket with a subprotocol", "GET /v1/echo/hello", either, "", append(upgrade, "Sec-WebSocket-Protocol: x-guard")...),
		call("WebSocket by POST", "POST "+unary, either, "", upgrade...),
		call("WebSocket of a method without a schema", "GET "+hidden, refused, first, upgrade...),
		call("WebSocket of an encoded name", "GET "+echo+"%55nary", either, first, upgrade...),
	)
}

// targets are other forms of the target of a request, and other hosts.
func targets() []attempt {
	all := []attempt{
		call("another host", "GET /v1/echo/hello", inside, "", "Host: other.example"),
		call("another host by name", "POST "+unary, inside, hello, asJSON, "Host: other.example:1"),
		call("localhost", "GET /v1/echo/hello", inside, "", "Host: localhost"),
	}
	all = append(all, over("HTTP/1.1",
		call("an absolute target", "GET http://other.example/v1/echo/hello", inside, ""),
		call("an absolute target by name", "POST http://other.example"+unary, inside, hello, asJSON),
		call("an absolute target with a user", "GET http://x@other.example/v1/echo/hello", either, ""),
		call("an absolute target of another scheme", "GET ftp://other.example/v1/echo/hello", either, ""),
		call("an opaque target", "GET http:v1/echo/hello", refused, ""),
		call("an asterisk", "OPTIONS *", refused, ""),
		call("an asterisk by GET", "GET *", refused, ""),
		call("no slash", "GET v1/echo/hello", refused, ""),
		call("CONNECT of a name", "CONNECT "+unary, refused, ""),
		call("CONNECT", "CONNECT other.example:443", refused, ""),
		call("no host", "GET /v1/echo/hello", either, "", "Host: "),
	)...)
	return append(all, over("HTTP/2",
		call("an absolute target over HTTP/2", "GET http://other.example/v1/echo/hello", either, ""),
		call("no slash over HTTP/2", "GET v1/echo/hello", either, ""),
		call("an asterisk over HTTP/2", "GET *", refused, ""),
	)...)
}

// schemaless are methods of an upstream without a schema, and a method that a schema does not have.
func schemaless() []attempt {
	all := []attempt{
		call("no schema, gRPC-Web", "POST "+hidden, inside, frame(wire), "Content-Type: application/grpc-web"),
		call("no schema, gRPC-Web as text", "POST "+hidden, inside, base64.StdEncoding.EncodeToString([]byte(frame(wire))), "Content-Type: application/grpc-web-text"),
		call("no schema, an encoded name", "POST /hidden.v1.Secret/%44o", either, frame(wire), "Content-Type: application/grpc-web"),
		call("no schema, lower case", "POST /hidden.v1.secret/do", inside, frame(wire), "Content-Type: application/grpc-web"),
		call("no schema, JSON", "POST "+hidden, refused, hello, asJSON),
		call("no schema, Connect", "POST "+hidden, refused, hello, asJSON, connect),
		call("no schema, Connect in binary", "POST "+hidden, refused, wire, "Content-Type: application/proto", connect),
		call("no schema, gRPC-Web in JSON", "POST "+hidden, refused, frame(hello), "Content-Type: application/grpc-web+json"),
		call("a method that its schema does not have", "POST "+echo+"NoSuch", inside, frame(wire), "Content-Type: application/grpc-web"),
	}
	return append(all, over("HTTP/2",
		call("no schema, gRPC", "POST "+hidden, inside, frame(wire), "Content-Type: application/grpc", "TE: trailers"),
		call("a method that its schema does not have, gRPC", "POST "+echo+"NoSuch", inside, frame(wire), "Content-Type: application/grpc", "TE: trailers"),
	)...)
}
