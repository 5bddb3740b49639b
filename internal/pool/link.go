package pool

import (
	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/unary"
)

// link is what makes one connection to an instance and moves calls over it. The balancer decides
// when it connects and which calls it gets. How the bytes travel is the link's own affair. See
// docs/decisions/0007-link.md.
//
// A link reports its state to balancer.onConnState, in the order of a SubConn of grpc:
//
//	IDLE -> CONNECTING -> READY -> IDLE                 (the connection was lost)
//	        CONNECTING -> TRANSIENT_FAILURE -> IDLE     (the backoff lies between the last two)
//
// It never calls the balancer from within one of these methods, because the balancer may hold its
// lock.
type link interface {
	// connect begins an attempt to connect. It does not block. The link must be IDLE.
	connect()
	// shutdown gives up the connection for good. Calls in flight may finish before it closes. It
	// may block until the peer reads. No state is reported afterwards.
	shutdown()
	// invoke makes an attempt of the whole call w, with the lease l and the claim p. It calls
	// p.begin when the attempt begins, and p.end, exactly once, when it is over. If the call was
	// certainly not processed, it calls l.notProcessed after that, and fails.
	//
	// Called on the call path; takes no lock of the balancer.
	invoke(w *wholeCall, l *lease, p *pick) error
	// newStream begins the stream that has the claim p. The claim is treated as by invoke. If the
	// call was certainly not processed, newStream or the stream calls l.notProcessed and fails. If
	// an attempt is over for another reason, the stream calls l.end.
	//
	// After the method Context of the stream was called, and if l.refused is true, the stream does
	// not call l.notProcessed any more. It fails with the reason.
	//
	// Called on the call path; takes no lock of the balancer.
	newStream(l *lease, p *pick, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error)
	// calls makes calls that have no claim, such as health checks. They fail if the link is not
	// READY. It returns nil if the link cannot make any.
	calls() grpc.ClientConnInterface
}

// grpcLink is a link of grpc-go. Calls go through the channel's grpc.ClientConn. It asks its picker
// for a connection, and grpcPicker gives it the one that the call has claimed.
type grpcLink struct {
	sub        grpcbalancer.SubConn
	clientConn *grpc.ClientConn
}

func (k grpcLink) connect() { k.sub.Connect() }

func (k grpcLink) shutdown() { k.sub.Shutdown() }

func (k grpcLink) invoke(w *wholeCall, l *lease, p *pick) error {
	w.grpcHasIt = true
	opts := append(append(w.room[:0], l.channel.options...), w.options...)
	opts = append(opts, grpc.Header(&w.call.Header))
	if l.refused {
		// Without the message, grpc can make no other attempt, and passes the reason on.
		opts = append(opts, grpc.MaxRetryRPCBufferSize(0))
	}
	l.bind()
	l.claim, l.claimed = p, true
	err := k.clientConn.Invoke(metadata.AppendToOutgoingContext(l, w.call.Metadata...), w.call.Method, w, &w.response, opts...)
	l.dropClaim()
	if err == nil {
		w.call.Response = unary.InParts(w.response)
	} else {
		w.response.Free() // it can have come before the status
	}
	w.response = nil
	return err
}

func (k grpcLink) newStream(l *lease, p *pick, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	l.claim, l.claimed = p, true
	before := l.unprocessedAttempts.Load()
	ended := func(err error) { l.attemptEnded(err, before) }
	cs, err := k.clientConn.NewStream(l, desc, method, append(opts, grpc.OnFinish(ended))...)
	l.dropClaim()
	if err == nil && l.refused {
		_ = cs.Context() // gRPC documents that this ends retries
	}
	return cs, err
}

// attemptEnded is called by grpc when a stream is over. before is the number of attempts that were
// not processed when this one began. If there are more now, this one was not, and whoever sends or
// receives makes another. grpc then says UNAVAILABLE, in its own words or with errNotProcessed. It
// depends on whether the goroutine that sends or the one that receives is first. Another code means
// that the call itself is over.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) attemptEnded(err error, before uint32) {
	if l.unprocessedAttempts.Load() != before && status.Code(err) == codes.Unavailable {
		return
	}
	l.end(err)
}

func (k grpcLink) calls() grpc.ClientConnInterface {
	made, release := k.sub.GetOrBuildProducer(connOfSubConn{})
	defer release()
	on, _ := made.(grpc.ClientConnInterface)
	return on
}

// connOfSubConn builds nothing. It returns what grpc gives it to build with, which is a
// grpc.ClientConnInterface to the SubConn.
type connOfSubConn struct{}

// Build is called by grpc.
func (connOfSubConn) Build(cc any) (grpcbalancer.Producer, func()) { return cc, func() {} }

// takeClaim returns the claim that grpc has not been given yet, and nil if there is none.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) takeClaim() *pick {
	if l == nil || l.claim == nil {
		return nil
	}
	p := l.claim
	l.claim = nil
	return p
}

// dropClaim returns the claim if grpc has failed before it asked for it.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) dropClaim() {
	if p := l.takeClaim(); p != nil {
		p.end(grpcbalancer.DoneInfo{})
	}
}

// errNotProcessed ends an attempt that was certainly not processed. It has a status, so grpc passes
// it on unchanged. Nobody outside sees it, unless two instances have refused the call.
var errNotProcessed = status.Error(codes.Unavailable, "the instance refused the call")

// notProcessed notes that the attempt was certainly not processed: nothing of it was written, or
// the instance refused it unread (REFUSED_STREAM, or a GOAWAY with a smaller stream ID).
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) notProcessed() {
	l.unprocessedAttempts.Add(1)
	l.unprocessed.Store(true)
}

// mayGoElsewhere reports whether the attempt that has ended may be made on another connection,
// whatever the call does. It may if it was certainly not processed: whenever nothing was written,
// and once if an instance has refused it (gRPC's proposal A6).
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) mayGoElsewhere() bool {
	if !l.unprocessed.Load() {
		return false
	}
	l.unprocessed.Store(false)
	if !l.evidence.started {
		return true
	}
	again := !l.refused
	l.refused = true
	return again
}

// grpcPicker is a picker as grpc sees it.
type grpcPicker struct{ picker picker }

// Pick is called by grpc for each attempt of a call. The first attempt has a claim. If grpc asks
// for another one, the first was certainly not processed. Then the channel makes the other attempt,
// because it may go to a link that is not grpc's.
//
// A call that did not come through the channel has no claim, and gets a connection here.
//
// Called on the call path; takes no lock of the balancer.
func (g grpcPicker) Pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	l := leaseFrom(info.Ctx)
	p := l.takeClaim()
	if p == nil && l != nil && l.claimed {
		l.notProcessed()
		return grpcbalancer.PickResult{}, errNotProcessed
	}
	if p == nil {
		var err error
		if p, err = g.picker.choose(info.Ctx, l); err != nil {
			return grpcbalancer.PickResult{}, err
		}
		if p == nil {
			return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
		}
	}
	p.begin()
	return grpcbalancer.PickResult{SubConn: p.conn.sub, Done: p.done}, nil
}
