package frontend

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	// It has a method that takes an HttpBody.
	_ "github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestDetect(t *testing.T) {
	upload, err := protoregistry.GlobalFiles.FindDescriptorByName("gateway.test.v1.Echo.UploadStream")
	if err != nil {
		t.Fatal(err)
	}
	table := &Table{Methods: map[string]*Method{"/a.B/C": {}, "/a.B/Upload": {Desc: upload.(protoreflect.MethodDescriptor)}}}
	for _, tc := range []struct {
		request string
		headers string // "Name: value" separated by |
		want    Protocol
	}{
		{"POST /a.B/C", "Content-Type: application/grpc", GRPC},
		{"POST /a.B/C", "Content-Type: application/grpc+proto", GRPC},
		{"POST /a.B/C", "Content-Type: Application/GRPC; x=y", GRPC},
		{"POST /a.B/Other", "Content-Type: application/grpc+foo", GRPC},
		{"POST /a.B/C", "Content-Type: application/grpc-web", GRPCWeb},
		{"POST /a.B/C", "Content-Type: application/grpc-web-text+proto", GRPCWeb},
		{"POST /a.B/C", "Content-Type: application/grpcx", Connect}, // where it is 415
		{"POST /v1/books", "Content-Type: application/grpcx", REST},
		{"POST /a.B/C", "Content-Type: application/connect+json", Connect},
		{"POST /a.B/Other", "Content-Type: application/connect+proto", Connect},
		{"POST /a.B/C", "Content-Type: application/proto", Connect},
		{"POST /a.B/C", "Content-Type: application/json", REST},
		{"POST /a.B/C", "Content-Type: application/json|Connect-Protocol-Version: 1", Connect},
		{"POST /a.B/C", "Content-Type: application/json|Connect-Timeout-Ms: 5", Connect},
		{"POST /a.B/Other", "Content-Type: application/json|Connect-Protocol-Version: 1", Connect},
		{"POST /v1/books", "Content-Type: application/proto", REST},
		{"POST /a.B/C", "", REST},
		{"POST /a.B/C", "Content-Type: application/x-ndjson", REST},
		{"POST /a.B/C", "Content-Type: multipart/form-data; boundary=x", REST},
		{"POST /a.B/C", "Content-Type: image/jpeg", Connect},
		{"POST /a.B/Upload", "Content-Type: image/jpeg", REST},
		{"GET /a.B/C?encoding=json&message=%7B%7D", "", Connect},
		{"GET /a.B/C?connect=v1&encoding=proto&message=", "", Connect},
		{"GET /a.B/C", "", REST},
		{"GET /a.B/C?message=x", "", REST},
		{"GET /v1/books?encoding=json&message=x", "", REST},
		{"OPTIONS /a.B/C", "", REST},
		{"DELETE /a.B/C", "Content-Type: application/proto|Connect-Protocol-Version: 1", Connect},
	} {
		t.Run(tc.request+" "+tc.headers, func(t *testing.T) {
			if got := Detect(table, request(tc.request, tc.headers)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// request makes a request of "METHOD target" and of headers that are separated by |.
func request(line, headers string) *http.Request {
	method, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, target, nil)
	for h := range strings.SplitSeq(headers, "|") {
		if name, value, ok := strings.Cut(h, ": "); ok {
			r.Header.Set(name, value)
		}
	}
	return r
}

func TestDetectAlone(t *testing.T) {
	for _, tc := range []struct {
		request string
		headers string
		want    Protocol
	}{
		{"POST /a.B/C", "Content-Type: application/grpc+proto", GRPC},
		{"POST /a.B/C", "Content-Type: application/grpc-web-text", GRPCWeb},
		{"POST /a.B/C", "Content-Type: application/connect+json", Connect},
		{"POST /a.B/C", "Content-Type: application/json|Connect-Protocol-Version: 1", Connect},
		{"POST /a.B/C", "Content-Type: application/json|Connect-Timeout-Ms: 100", Connect},
		{"POST /a.B/C", "Content-Type: Application/Proto; x=y", Connect},
		{"GET /a.B/C?connect=v1&encoding=json&message=%7B%7D", "", Connect},
		{"GET /a.B/C?encoding=json&message=x", "Connect-Protocol-Version: 1", Connect},
		{"GET /a.B/C?encoding=json&message=x", "", REST},
		{"GET /a.B/C?connect=v1", "", REST},
		{"GET /v1/books?connect=v2&encoding=json&message=x", "", REST},
		{"POST /a.B/C", "Content-Type: application/json", REST},
		{"POST /a.B/C", "Content-Type: application/protobuf", REST},
		{"PUT /a.B/C", "Content-Type: application/proto", REST},
		{"GET /index.html", "", REST},
	} {
		t.Run(tc.request+" "+tc.headers, func(t *testing.T) {
			if got := DetectAlone(request(tc.request, tc.headers)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestAnswersAs(t *testing.T) {
	for contentType, want := range map[string][]Protocol{
		"application/grpc+proto":        {GRPC},
		"application/grpc":              {GRPC},
		"application/grpc-web+proto":    {GRPCWeb},
		"application/grpc-web-text":     {GRPCWeb},
		"application/connect+proto":     {Connect},
		"application/proto":             {Connect},
		"Application/JSON; charset=utf": {Connect},
		"text/html":                     nil,
		"":                              nil,
		"application/grpcx":             nil,
	} {
		for _, p := range []Protocol{GRPC, GRPCWeb, Connect} {
			if got := p.AnswersAs(contentType); got != slices.Contains(want, p) {
				t.Errorf("%s, %q: %v", p, contentType, got)
			}
		}
		if !REST.AnswersAs(contentType) {
			t.Errorf("rest, %q: false", contentType)
		}
	}
}
