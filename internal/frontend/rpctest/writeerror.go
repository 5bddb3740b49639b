package rpctest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// WriteError is the signature of the functions of this name.
type WriteError func(w http.ResponseWriter, r *http.Request, err *frontend.Error)

// Record answers a request with an error.
func Record(write WriteError, r *http.Request, err *frontend.Error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	write(w, r, err)
	return w
}

// CheckWriteError fails the test unless the function answers as the protocol itself does with the
// same error, in every byte.
func CheckWriteError(t *testing.T, p Protocol, write WriteError, r *http.Request) {
	t.Helper()
	var none *frontend.Table
	_, err := none.Lookup(r.URL.Path, false)
	var e *frontend.Error
	if !errors.As(err, &e) {
		t.Fatalf("lookup in no table: %v", err)
	}
	got, want := Record(write, r, e), httptest.NewRecorder()
	var info frontend.Info
	p.Serve(want, r, none, &info)
	if got.Code != want.Code || !reflect.DeepEqual(got.Header(), want.Header()) || got.Body.String() != want.Body.String() {
		t.Errorf("WriteError: %d %v %q\nServe: %d %v %q", got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
	}
}

// Request makes a request of an HTTP version from 1 to 3. headers are names and values in turns.
func Request(version int, method, target, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, http.NoBody)
	r.ProtoMajor, r.ContentLength = version, int64(len(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}
