package pool

import (
	"context"

	"google.golang.org/grpc"
)

// Uncounted wraps conn for the gateway's own calls, such as reading the schema. conn is a channel,
// or something that passes options on to one. Picks and failures, which operators see, do not
// include these calls. The balancer does not learn from their latencies or failures. They do count
// as calls in flight.
func Uncounted(conn grpc.ClientConnInterface) grpc.ClientConnInterface { return uncountedConn{conn} }

type uncountedConn struct{ conn grpc.ClientConnInterface }

func (c uncountedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.conn.Invoke(ctx, method, args, reply, append(opts[:len(opts):len(opts)], uncounted{})...)
}

func (c uncountedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.conn.NewStream(ctx, desc, method, append(opts[:len(opts):len(opts)], uncounted{})...)
}

// uncounted is the option that marks such a call.
type uncounted struct{ grpc.EmptyCallOption }

// isUncounted reports whether the option is among opts.
func isUncounted(opts []grpc.CallOption) bool {
	for _, o := range opts {
		if _, ok := o.(uncounted); ok {
			return true
		}
	}
	return false
}
