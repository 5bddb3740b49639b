package pool_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
)

// fixed is a source that publishes one state.
type fixed struct{ state discovery.State }

func (f fixed) ID() string { return "fixed" }

func (f fixed) Watch(ctx context.Context, publish func(discovery.State)) {
	publish(f.state)
	<-ctx.Done()
}

// On a config reload a channel is opened on a feed that already knows its list. The channel must
// not say that it knows nothing.
func TestOpenKnowsWhatTheFeedKnows(t *testing.T) {
	tests := map[string]struct {
		state discovery.State
		want  string
	}{
		"empty":    {discovery.State{Synced: true}, "the service has no instances"},
		"unsynced": {discovery.State{}, "no instance of the service is known yet"},
		"refused": {
			discovery.State{Synced: true, Endpoints: []discovery.Endpoint{{ID: "a", Addr: "127.0.0.1:1"}}},
			"no instance of the service can be reached: connection refused",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			feed := discovery.NewFeed(fixed{tt.state})
			defer feed.Close()
			for end := time.Now().Add(10 * time.Second); tt.state.Synced && !feed.State().Synced; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the feed has no state")
				}
			}
			c, err := pool.Open("user.rpc", pool.Settings{Linger: time.Millisecond}, feed, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			err = c.Invoke(t.Context(), "/test.Service/Echo", mem.BufferSlice{}, &mem.BufferSlice{})
			if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != tt.want {
				t.Errorf("status is %v, want %q", st, tt.want)
			}
			<-c.Retire()
		})
	}
}
