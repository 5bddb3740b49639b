package transcode_test

import (
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// TestConcurrentFirstUse has the types of nested messages compiled by several conversions at once; the race detector judges.
func TestConcurrentFirstUse(t *testing.T) {
	const json = `{"rules":[{"selector":"a","custom":{"kind":"REPORT","path":"/x"},"additionalBindings":[{"get":"/y"}]}]}`
	md := (&annotations.Http{}).ProtoReflect().Descriptor()
	for range 100 {
		compiler := transcode.NewCompiler(nil, transcode.Options{})
		var start, done sync.WaitGroup
		start.Add(1)
		for range 4 {
			done.Go(func() {
				codec, err := compiler.Codec(md)
				if err != nil {
					t.Error(err)
					return
				}
				start.Wait()
				wire, err := codec.JSONToWire(nil, []byte(json))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := codec.WireToJSON(nil, wire); err != nil || string(got) != json {
					t.Errorf("%s, %v", got, err)
				}
			})
		}
		start.Done()
		done.Wait()
	}
}
