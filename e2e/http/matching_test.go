package httpe2e

import (
	"bytes"
	"compress/gzip"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// optionsSite has handlers with other options, chosen by a header, before the plain one.
const optionsSite = `
	@etag header X-Site etag
	@forms header X-Site forms
	@lenient header X-Site lenient
	@decode header X-Site decode
	handle @etag {
		grpc_gateway echo {
			etag on
		}
	}
	handle @forms {
		grpc_gateway echo {
			forms on
		}
	}
	handle @lenient {
		grpc_gateway echo {
			query ignore_unknown
		}
	}
	handle @decode {
		grpc_gateway echo {
			fully_decode_reserved_expansion on
		}
	}
	handle {
		grpc_gateway echo {
			max_request_size 64KiB
		}
	}`

func TestMatchingAndBinding(t *testing.T) {
	w := newWorld(t, optionsSite)
	form, formType := multipartForm(t)
	book := w.client(t, "HTTP/1.1").do("GET", "/v1/shelves/1/books/1", nil, "X-Site: etag")
	etag, length := book.Header.Get("ETag"), strconv.Itoa(len(book.body))
	if etag == "" || book.StatusCode != http.StatusOK {
		t.Fatalf("no ETag: %s", book)
	}
	run(t, w, []row{
		{"{id} and a%2Fb", []exchange{
			{request: "GET /v1/echo/a%2Fb", saw: `{"text":"a/b"}`},
			{request: "GET /v1/echo/a%252Fb", saw: `{"text":"a%2Fb"}`},
			{request: "GET /v1/echo/%2e%2e", saw: `{"text":".."}`},
			{request: "GET /v1/echo/a%3Fb%23c%25", saw: `{"text":"a?b#c%"}`},
			{request: "GET /v1/echo/%C3%A9", saw: `{"text":"é"}`},
			{request: "GET /v1/echo/a/b", status: 404, has: `{"code":5,"message":"no route for GET /v1/echo/a/b"}`},
			{request: "GET /v1/echo//", status: 404},
			{request: "GET //v1/echo/a", status: 404},
			{request: "GET /v1/echo/%ff", status: 400, has: `"code":3`},
		}},
		{"{n=**}, {n=a/*}", []exchange{
			{request: "GET /v1/files/a/b%2Fc/d%20e", saw: `{"path":"a/b%2Fc/d e"}`},
			{request: "GET /v1/files/a%2fb/", saw: `{"path":"a%2fb/"}`},
			{request: "GET /v1/files/a//b/./../c", saw: `{"path":"a//b/./../c"}`},
			{request: "GET /v1/files/a%2Fb/c%20d", headers: "X-Site: decode", saw: `{"path":"a/b/c d"}`},
			{request: "GET /v1/shelves/1/books/1", has: `"name":"shelves/1/books/1"`},
			{request: "GET /v1/shelves/1%2F2/books/1", status: 404, has: `no book \"shelves/1%2F2/books/1\"`},
		}},
		{"a:b in the last segment", []exchange{
			{request: "POST /v1/echo/loud:shout", body: `{"value":"v"}`, saw: `{"text":"loud","nested":{"value":"v"}}`},
			{request: "GET /v1/echo/loud:whisper", saw: `{"text":"loud:whisper"}`},
			{request: "GET /v1/echo/loud:shout", saw: `{"text":"loud:shout"}`},
		}},
		{"precedence", []exchange{
			{request: "GET /v1/shelves:titles", has: `[{"name":"shelves/`},
			{request: "PUT /v1/shelves/2/books/3", body: `{"title":"Leaves of Grass"}`, has: `"title":"Leaves of Grass"`},
		}},
		{"unknown route / known path, other method / backend UNIMPLEMENTED", []exchange{
			{request: "GET /v1/nowhere", status: 404, exact: `{"code":5,"message":"no route for GET /v1/nowhere"}`, fields: "Content-Type: application/json"},
			{request: "DELETE /v1/echo", status: 405, has: `{"code":12,`, fields: "Allow: GET, HEAD, OPTIONS, POST, REPORT"},
			{request: "GET /gateway.test.v1.Echo/Unary", status: 405, fields: "Allow: OPTIONS, POST"},
			{request: "BREW /v1/echo", status: 405, has: `{"code":12,`},
			{request: "POST /v1/echo", body: `{"script":{"failCode":12,"failMessage":"not here"}}`, status: 501, exact: `{"code":12,"message":"not here"}`},
		}},
		{"HEAD, OPTIONS", []exchange{
			{request: "HEAD /v1/shelves/1/books/1", fields: "Content-Type: application/json|Content-Length: " + length},
			{request: "HEAD /v1/shelves/9/books/9", status: 404},
			{request: "HEAD /v1/stream/3"},
			{request: "OPTIONS /v1/echo", status: 204, fields: "Allow: GET, HEAD, OPTIONS, POST, REPORT"},
			{request: "OPTIONS /v1/nowhere", status: 404},
			{request: "REPORT /v1/echo", body: `{"text":"r"}`, saw: `{"text":"r"}`},
		}},
		{"body *", []exchange{
			{request: "POST /v1/echo", body: `{"text":"hi","nested":{"value":"n"}}`, saw: `{"text":"hi","nested":{"value":"n"}}`},
			{request: "POST /v1/echo", saw: `{}`},
			{request: "POST /v1/echo", body: ` `, saw: `{}`},
			{request: "POST /v1/echo?text=x", body: `{}`, status: 400, has: `query parameter \"text\"`},
			{request: "POST /v1/echo", body: `{"text":`, status: 400, has: `{"code":3,`},
			{request: "POST /gateway.test.v1.Echo/Unary", body: `{"text":"by name"}`, saw: `{"text":"by name"}`},
		}},
		{"same field in path and body or query", []exchange{
			{request: "GET /v1/echo/a%20b?text=a+b", saw: `{"text":"a b"}`},
			{request: "GET /v1/echo/a?text=b", status: 400, has: "the path says otherwise"},
			{request: "PATCH /v1/shelves/1/books/2?update_mask=title", body: `{"name":"shelves/9/books/9","title":"Middlemarch"}`, has: `"name":"shelves/1/books/2"`},
		}},
		{"singular twice, two members of a oneof, repeated message in query", []exchange{
			{request: "GET /v1/echo?count=1&count=2", status: 400, has: "given more than once"},
			{request: "GET /v1/echo?left=a&right=1", status: 400, has: "oneof choice"},
			{request: "GET /v1/echo?many.value=x", status: 400, has: "many"},
		}},
		{"unknown query parameter", []exchange{
			{request: "GET /v1/echo/a?nonsense=1", status: 400, has: `query parameter \"nonsense\"`},
			{request: "GET /v1/echo/a?nonsense=1", headers: "X-Site: lenient", saw: `{"text":"a"}`},
		}},
		{"names", []exchange{
			{request: "GET /v1/echo?otherName=a", saw: `{"otherName":"a"}`},
			{request: "GET /v1/echo?renamed_field=a&nested.child.value=b", saw: `{"nested":{"child":{"value":"b"}},"otherName":"a"}`},
			{request: "GET /v1/echo?labels[key]=v", saw: `{"labels":{"key":"v"}}`},
			{request: "GET /v1/echo?labels%5Ba.b%5D=v", saw: `{"labels":{"a.b":"v"}}`},
			{request: "GET /v1/echo?list=a&list=b&genre=NOVEL&at=2024-01-02T03:04:05Z&lag=1.5s",
				saw: `{"list":["a","b"],"genre":"NOVEL","at":"2024-01-02T03:04:05Z","lag":"1.500s"}`},
		}},
		{"?p= with presence", []exchange{
			{request: "GET /v1/echo?maybe=", saw: `{"maybe":""}`},
			{request: "GET /v1/echo?maybe_number=", status: 400},
		}},
		{"+ in query, ; is literal", []exchange{
			{request: "GET /v1/echo/a+b?path=a+b%2Bc", saw: `{"text":"a+b","path":"a b+c"}`},
			{request: "GET /v1/echo?text=1;count=2", saw: `{"text":"1;count=2"}`},
			{request: "GET /v1/echo/a;b=c", saw: `{"text":"a;b=c"}`},
			{request: "GET /v1/echo?text=%zz", status: 400},
		}},
		{"HttpBody", []exchange{
			{request: "POST /v1/upload/name", headers: "Content-Type: image/x-raw", body: "\x00\xff raw", exact: "\x00\xff raw", fields: "Content-Type: image/x-raw|X-Filename: name"},
			{request: "GET /v1/download/3", exact: "chunk 1\nchunk 2\nchunk 3\n", fields: "Content-Type: text/plain; charset=utf-8"},
			{request: "POST /v1/upload-stream", headers: "Content-Type: text/x-many", body: strings.Repeat("a", 100_000), has: `"big":"100000"`},
		}},
		{"PATCH with update_mask", []exchange{
			{request: "PATCH /v1/shelves/1/books/2", body: `{"pages":"881"}`, has: `"title":"Middlemarch","author":"George Eliot","genre":"NOVEL","pages":"881"`},
			{request: "PATCH /v1/shelves/1/books/2?update_mask=pages", body: `{"title":"X","pages":"880"}`, has: `"title":"Middlemarch"`},
		}},
		{"Content-Type", []exchange{
			{request: "POST /v1/echo", headers: "Content-Type: APPLICATION/JSON; Charset=\"utf-8\"", body: `{"text":"a"}`, saw: `{"text":"a"}`},
			{request: "POST /v1/echo", headers: "Content-Type: application/merge-patch+json", body: `{"text":"a"}`, saw: `{"text":"a"}`},
			{request: "POST /v1/echo", body: `{"text":"a"}`, saw: `{"text":"a"}`},
			{request: "POST /v1/echo", headers: "Content-Type: text/html", body: `{}`, status: 415, has: `"code":3`},
			{request: "POST /v1/echo", headers: "Content-Type: application/json; charset=latin1", body: `{}`, status: 415},
			{request: "POST /v1/echo", headers: "Content-Type: application/x-www-form-urlencoded", body: `text=a`, status: 415},
		}},
		{"Content-Encoding", []exchange{
			{request: "POST /v1/echo", headers: "Content-Encoding: gzip", body: gzipped(`{"text":"packed"}`), saw: `{"text":"packed"}`},
			{request: "POST /v1/echo", headers: "Content-Encoding: zstd", body: zstandard(t, `{"text":"packed"}`), saw: `{"text":"packed"}`},
			{request: "POST /v1/echo", headers: "Content-Encoding: gzip", body: "not packed", status: 400},
			{request: "POST /v1/echo", headers: "Content-Encoding: br", body: "x", status: 415, fields: "Accept-Encoding: gzip, zstd"},
			{request: "POST /v1/echo", headers: "Content-Encoding: gzip", body: gzipped(`{"text":"` + strings.Repeat("a", 70_000) + `"}`), status: 413},
		}},
		{"Accept", []exchange{
			{request: "GET /v1/echo/a", headers: "Accept: text/html;q=0.9, application/json;q=0.1", saw: `{"text":"a"}`},
			{request: "GET /v1/echo/a", headers: "Accept: */*", saw: `{"text":"a"}`},
			{request: "GET /v1/echo/a", headers: "Accept: text/html", status: 406, has: `"code":3`},
			{request: "GET /v1/echo/a", headers: "Accept: application/json;q=0, */*", status: 406},
			{request: "GET /v1/stream/1", headers: "Accept: application/json;q=0.5, text/event-stream", fields: "Content-Type: text/event-stream"},
		}},
		{"If-None-Match on GET", []exchange{
			{request: "GET /v1/shelves/1/books/1", headers: "X-Site: etag", fields: "Etag: " + etag},
			{request: "GET /v1/shelves/1/books/1", headers: "X-Site: etag|If-None-Match: " + etag, status: 304, fields: "Etag: " + etag},
			{request: "HEAD /v1/shelves/1/books/1", headers: "X-Site: etag|If-None-Match: W/" + etag, status: 304},
			{request: "GET /v1/shelves/1/books/1", headers: "If-None-Match: " + etag, fields: "Etag"},
		}},
		{"multipart/form-data", []exchange{
			{request: "POST /v1/echo", headers: "X-Site: forms|Content-Type: " + formType, body: form, saw: `{"text":"hello","count":3,"data":"AP8="}`},
			{request: "POST /v1/echo", headers: "X-Site: forms|Content-Type: application/x-www-form-urlencoded", body: "text=a+b&count=2", saw: `{"text":"a b","count":2}`},
			{request: "POST /v1/echo", headers: "Content-Type: " + formType, body: form, status: 415},
		}},
	})
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zstandard(t testing.TB, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(s), nil))
}

// multipartForm has two fields and a file.
func multipartForm(t testing.TB) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("text", "hello")
	_ = w.WriteField("count", "3")
	file, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="data"; filename="f"`}, "Content-Type": {"image/png"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write([]byte{0, 0xff})
	w.Close()
	return b.String(), w.FormDataContentType()
}
