// Package openapie2e has the documents of gateways judged by programs that nobody here wrote: two
// validators that see calls, two linters, and a proxy that validates. The calls are made up, to
// methods with every kind of field, message, template and stream.
//
// The documents also judge the calls of e2e/http, by the same validators.
package openapie2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/judge"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// wire is a message as it is sent.
type wire []byte

// bytesCodec leaves messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                    { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error)   { return *v.(*wire), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error { *v.(*wire) = b; return nil }

// startMirror starts a server that sends back what it gets, whatever the method is. The name of the
// method says how it streams.
func startMirror(t testing.TB) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}), grpc.UnknownServiceHandler(mirror))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return listener.Addr().String()
}

func mirror(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	method = method[strings.LastIndexByte(method, '/')+1:]
	both, answers := method == "Both", 1
	if strings.Contains(method, "Down") {
		answers = 3
	}
	last := new(wire)
	for {
		got := new(wire)
		err := stream.RecvMsg(got)
		switch {
		case errors.Is(err, io.EOF) && both:
			return nil
		case errors.Is(err, io.EOF):
			for range answers {
				if err := stream.SendMsg(last); err != nil {
					return err
				}
			}
			return nil
		case err != nil:
			return err
		case both:
			if err := stream.SendMsg(got); err != nil {
				return err
			}
		}
		last = got
	}
}

// protoDir is where the .proto files of the methods are.
func protoDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/proto")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// startGateway starts Caddy with a handler for each set of options, which a request chooses by its
// header X-Site. They are before a mirror.
func startGateway(t testing.TB, handlers map[string]string) *kit.Caddy {
	t.Helper()
	dir := protoDir(t)
	global := fmt.Sprintf("\tgrpc_gateway {\n\t\tupstream wide {\n\t\t\tdiscover static %s\n\t\t\tdescriptors proto %s/wide.proto %s/legacy.proto %s/edition.proto {\n\t\t\t\timport_path %s\n\t\t\t}\n\t\t}\n\t}",
		startMirror(t), dir, dir, dir, dir)
	var site strings.Builder
	for name, options := range handlers {
		fmt.Fprintf(&site, "\t@%s header X-Site %s\n\thandle @%s {\n\t\tgrpc_gateway wide {\n%s\n\t\t}\n\t}\n", name, name, name, options)
	}
	caddy := kit.StartCaddy(t, kit.Options{Global: global, Site: site.String()})
	document := judge.Fetcher(kit.DocumentPath, "X-Site")
	for name := range handlers {
		kit.Eventually(t, 30*time.Second, name+" describes itself", func() error {
			d, err := document(&http.Request{URL: &url.URL{Scheme: "http", Host: caddy.Listen}, Header: http.Header{"X-Site": {name}}})
			if err == nil && len(d.Pending) > 0 {
				err = fmt.Errorf("%v are pending", d.Pending)
			}
			return err
		})
	}
	return caddy
}

// described is the option `openapi` with all methods, and further options of its own.
func described(more ...string) string {
	return "openapi {\n docs off\n rpc on\n " + strings.Join(more, "\n ") + "\n}"
}

// handlers are the options with which the calls are made. Each changes what requests or answers
// look like.
func handlers() map[string]string {
	// An INPUT_ONLY field is hidden where defaults are written.
	const secret = "hide_fields wide.v1.Behaviors.secret\n"
	return map[string]string{
		"plain":    described(),
		"newer":    described("version 3.2"),
		"one_of":   described("one_of"),
		"names":    "json {\n use_proto_names\n emit_defaults\n enums_as_numbers\n}\n" + secret + described(),
		"nulls":    "json {\n emit_unpopulated\n enum_prefix omit\n enum_case lower\n}\n" + secret + described(),
		"lenient":  "json {\n discard_unknown\n enum_case any\n}\nquery ignore_unknown\nerrors problem\nforms on\n" + described(),
		"envelope": "answers {\n envelope code=0 msg=ok data streams\n empty_status 204\n}\n" + described(),
		"parts":    "fields on\netag on\n" + secret + described(),
	}
}
