package main

import "testing"

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stack []string
		want  kind
		pkg   string
	}{
		{"the client's connection", []string{"internal/runtime/syscall/linux.Syscall6", "syscall.write", "net.(*conn).Write", "net/http.checkConnErrorWriter.Write",
			"bufio.(*Writer).Flush", "github.com/caddyserver/caddy/v2/modules/caddyhttp.(*Server).ServeHTTP"}, kind{"net/http", "kernel"}, ""},
		{"the backend's connection", []string{"internal/runtime/syscall.Syscall6", "net.(*conn).Write", "google.golang.org/grpc/internal/transport.(*loopyWriter).run"},
			kind{"grpc-go", "kernel"}, ""},
		{"a frame to the backend", []string{"golang.org/x/net/http2.(*Framer).endWrite", "google.golang.org/grpc/internal/transport.(*loopyWriter).run"}, kind{"grpc-go", "the rest"}, ""},
		{"a frame of the client", []string{"golang.org/x/net/http2.parseDataFrame", "golang.org/x/net/http2.(*Framer).ReadFrame", "golang.org/x/net/http2.(*serverConn).readFrames"},
			kind{"net/http", "the rest"}, ""},
		{"an allocation of ours", []string{"runtime.memclrNoHeapPointers", "runtime.mallocgc", "runtime.makeslice", "github.com/caddy-grpc/gateway/internal/transcode.(*Encoder).Append",
			"net/http.(*conn).serve"}, kind{"gateway", "allocation"}, "internal/transcode"},
		{"a method of a package by itself", []string{"github.com/caddy-grpc/gateway/module.(*Handler).ServeHTTP"}, kind{"gateway", "the rest"}, "module"},
		{"marking", []string{"runtime.scanobject", "runtime.gcDrain", "runtime.gcBgMarkWorker.func2", "runtime.systemstack"}, kind{"collector", "collector"}, ""},
		{"waiting", []string{"runtime.futex", "runtime.futexsleep", "runtime.findRunnable", "runtime.schedule"}, kind{"scheduler", "kernel"}, ""},
		{"finding a goroutine", []string{"runtime.findRunnable", "runtime.schedule", "runtime.mcall"}, kind{"scheduler", "scheduler"}, ""},
		{"nothing", nil, kind{"scheduler", "scheduler"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if k, pkg := classify(tt.stack); k != tt.want || pkg != tt.pkg {
				t.Errorf("got %v %q, want %v %q", k, pkg, tt.want, tt.pkg)
			}
		})
	}
}
