package httpe2e

import (
	"net/http"
	"testing"
)

// shapedSite has every way to another status than 200, and an envelope.
const shapedSite = `
	grpc_gateway echo {
		route POST /t/created gateway.test.v1.Echo/Unary {
			body *
			status 201
		}
		route POST /t/stream gateway.test.v1.Echo/ServerStream {
			body *
			status 202
		}
		route POST /t/text gateway.test.v1.Echo/Unary {
			body *
			response_body text
		}
		etag on
		answers {
			empty_status 204
			status_from x-http-code
			envelope code=0 message=ok data
		}
	}`

func TestShapeOfAnswers(t *testing.T) {
	w := newWorld(t, shapedSite)
	run(t, w, []row{
		{"a route has a status", []exchange{
			{request: "POST /t/created", body: `{"text":"hi"}`, status: 201, has: `{"code":0,"message":"ok","data":{"text":"hi"`},
			{request: "POST /t/stream", body: `{"count":2}`, status: 202, has: `"number":2`},
			{request: "POST /t/created", body: `{"script":{"failCode":5}}`, status: 404},
		}},
		{"an empty answer has no body", []exchange{
			{request: "GET /v1/shelves/99/books", status: 204, fields: "Content-Type|Content-Length|ETag"},
			{request: "HEAD /v1/shelves/99/books", status: 204, fields: "Content-Type|Content-Length"},
		}},
		{"the service sets the status", []exchange{
			{request: "POST /v1/echo", body: `{"script":{"headers":{"x-http-code":"202","x-one":"1"}}}`, status: 202, fields: "X-Http-Code|X-One: 1"},
			{request: "POST /t/created", body: `{"script":{"headers":{"x-http-code":"204","x-one":"1"},"trailers":{"x-two":"2"}}}`, headers: "TE: trailers",
				status: 204, fields: "X-Http-Code|X-One: 1|Content-Type", ends: "X-Two"},
			{request: "POST /v1/echo", body: `{"script":{"headers":{"x-http-code":"304"}}}`, status: 304, fields: "Content-Type"},
			{request: "POST /v1/echo", body: `{"script":{"headers":{"x-http-code":"205"}}}`, status: 205, fields: "Content-Type"},
			{request: "POST /v1/echo", body: `{"script":{"headers":{"x-http-code":"302"}}}`, status: http.StatusOK, fields: "X-Http-Code|Location"},
			{request: "POST /t/created", body: `{"script":{"headers":{"x-http-code":"500"}}}`, status: 201},
		}},
		{"only 200 is conditional", []exchange{
			{request: "GET /v1/echo/x", headers: "If-None-Match: *", status: 304},
			{request: "GET /v1/shelves/99/books", headers: "If-None-Match: *", status: 204},
		}},
		{"an envelope is around messages, and not around raw data", []exchange{
			{request: "POST /t/text", body: `{"text":"hi"}`, exact: `{"code":0,"message":"ok","data":"hi"}`},
			{request: "POST /v1/upload/f", body: `{"a":1}`, exact: `{"a":1}`},
			{request: "GET /v1/download/2?text=x", exact: "xx"},
		}},
	})
}
