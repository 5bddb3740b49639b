package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// client returns a command line client that scripts/clients has installed.
func client(t *testing.T, name string) func(stdin string, args ...string) (out string, err error) {
	t.Helper()
	path := filepath.Join(kit.RootDir(t), ".bin", "clients", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run scripts/clients", name)
	}
	return func(stdin string, args ...string) (string, error) {
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.WaitDelay = time.Second
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		err := cmd.Run()
		return out.String(), err
	}
}

// serveEcho runs a gateway that tells its schema and its health, in front of a backend.
func serveEcho(t *testing.T) *kit.Caddy {
	t.Helper()
	backend := testkit.StartBackend(t)
	c := kit.StartCaddy(t, kit.Options{
		Site: fmt.Sprintf("grpc_gateway {\n\tupstream echo {\n\t\tdiscover static %s\n\t}\n\treflection on\n\thealth on\n}", backend.Addr()),
	})
	c.WaitReady(t, 20*time.Second, backend.Addr())
	return c
}

// answers are calls that every client has to be able to make: what goes in, and what has to be in the answer.
var answers = []struct{ name, method, stdin, want string }{
	{"unary", "gateway.test.v1.Echo/Unary", `{"text":"one"}`, `"one"`},
	{"server stream", "gateway.test.v1.Echo/ServerStream", `{"text":"many","count":3}`, `3`},
	{"client stream", "gateway.test.v1.Echo/ClientStream", `{"text":"a"} {"text":"b"}`, `"a,b"`},
	{"bidi", "gateway.test.v1.Echo/Bidi", `{"text":"a"} {"text":"b"}`, `"b"`},
}

func TestGrpcurl(t *testing.T) {
	c := serveEcho(t)
	grpcurl := client(t, "grpcurl")
	for _, tc := range answers {
		t.Run(tc.name, func(t *testing.T) {
			out, err := grpcurl(tc.stdin, "-plaintext", "-d", "@", c.Listen, tc.method)
			if err != nil || !strings.Contains(out, tc.want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("list", func(t *testing.T) {
		out, err := grpcurl("", "-plaintext", c.Listen, "list")
		if want := "gateway.test.v1.Echo\ngateway.test.v1.Library\ngrpc.health.v1.Health\ngrpc.reflection.v1.ServerReflection\n" +
			"grpc.reflection.v1alpha.ServerReflection\n"; err != nil || out != want {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("describe", func(t *testing.T) {
		out, err := grpcurl("", "-plaintext", c.Listen, "describe", "gateway.test.v1.EchoRequest")
		if err != nil || !strings.Contains(out, "message EchoRequest {") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("health", func(t *testing.T) {
		out, err := grpcurl(`{"service":"gateway.test.v1.Echo"}`, "-plaintext", "-d", "@", c.Listen, "grpc.health.v1.Health/Check")
		if err != nil || !strings.Contains(out, `"SERVING"`) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("error", func(t *testing.T) {
		out, err := grpcurl(`{"script":{"fail_code":9,"fail_message":"not now","fail_bad_request":true}}`, "-plaintext", "-d", "@", c.Listen,
			"gateway.test.v1.Echo/Unary")
		if err == nil || !strings.Contains(out, "FailedPrecondition") || !strings.Contains(out, "not now") || !strings.Contains(out, "BadRequest") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestBufCurl(t *testing.T) {
	c := serveEcho(t)
	buf := client(t, "buf")
	image := descriptors(t)
	for _, protocol := range []string{"connect", "grpc", "grpcweb"} {
		for _, h2 := range []bool{true, false} {
			for _, tc := range answers {
				// Reflection is a bidi stream, which buf makes over HTTP/2 only; over HTTP/1.1 it has the schema from elsewhere.
				args := []string{"curl", "--protocol", protocol, "-d", "@-"}
				if h2 {
					args = append(args, "--http2-prior-knowledge", "--reflect-protocol", "grpc-v1")
				} else {
					args = append(args, "--schema", image)
				}
				if !h2 && (protocol == "grpc" || tc.name == "bidi") {
					continue // That is HTTP/2's.
				}
				t.Run(fmt.Sprintf("%s, %s, HTTP/2 %v", protocol, tc.name, h2), func(t *testing.T) {
					out, err := buf(tc.stdin, append(args, "http://"+c.Listen+"/"+tc.method)...)
					if err != nil || !strings.Contains(out, tc.want) {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
		}
	}
}

// descriptors writes a FileDescriptorSet of the test services.
func descriptors(t *testing.T) string {
	t.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	seen := make(map[string]bool)
	var add func(fd protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	add(testpb.File_internal_testkit_testpb_echo_proto)
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "echo.binpb")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
