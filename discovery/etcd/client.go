package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery/clienttls"
)

// settings are what a client is made from, with all secrets resolved.
type settings struct {
	endpoints          []string // host:port or a URL, as etcd's client takes them
	username, password string
	tls                *clienttls.Client // nil: TLS if endpoints begin with https, else plaintext
	dialTimeout        time.Duration
	keepaliveTime      time.Duration
	keepaliveTimeout   time.Duration
	// fingerprint is a hash of all of the above, but not of the contents of certificates.
	fingerprint string
}

// reconnect limits the wait between two attempts to connect. Changes that were made while etcd was
// away are seen within seconds of its return. grpc's own default is two minutes.
var reconnect = backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}

// client is the etcd client of one cluster. All watches of the cluster share it. etcd's own client
// is made when it is first needed, because it may log in, which takes time and may fail.
type client struct {
	settings *settings
	log      *zap.Logger
	outages  *outages
	ctx      context.Context
	cancel   context.CancelFunc
	making   chan struct{} // capacity 1: held while a client is made or thrown away

	mu      sync.Mutex
	current *clientv3.Client // nil: none yet
	made    chan struct{}    // closed when there is one
}

func newClient(s *settings, log *zap.Logger) *client {
	ctx, cancel := context.WithCancel(context.Background())
	return &client{settings: s, log: log, outages: newOutages(log), ctx: ctx, cancel: cancel, making: make(chan struct{}, 1), made: make(chan struct{})}
}

// Destruct closes the client. Caddy's UsagePool calls it when the last watch has ended.
func (c *client) Destruct() error {
	c.cancel()
	current, _ := c.peek()
	c.discard(current)
	return nil
}

// peek returns the present client, or nil and a channel that is closed when there is one.
func (c *client) peek() (*clientv3.Client, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.made
}

// get returns the etcd client. It makes one if there is none.
func (c *client) get(ctx context.Context) (*clientv3.Client, error) {
	select {
	case c.making <- struct{}{}:
		defer func() { <-c.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if current, _ := c.peek(); current != nil {
		return current, nil
	}
	made, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.current = made
	close(c.made)
	c.mu.Unlock()
	return made, nil
}

// dial makes a client. It blocks only to log in, until ctx is done or the dial timeout has passed.
func (c *client) dial(ctx context.Context) (*clientv3.Client, error) {
	lifetime, cancel := context.WithCancel(c.ctx)
	stop := context.AfterFunc(ctx, cancel)
	made, err := clientv3.New(c.config(lifetime))
	switch {
	case err != nil:
		cancel()
		if isQuorumError(err) || errors.Is(err, context.Canceled) {
			return nil, &unreachableError{err}
		}
		return nil, fmt.Errorf("logging in: %w", err)
	case !stop(): // ctx ended in the last moment, and the client with it
		cancel()
		_ = made.Close() // says only that its context was cancelled
		return nil, ctx.Err()
	}
	context.AfterFunc(made.Ctx(), cancel)
	return made, nil
}

func (c *client) config(ctx context.Context) clientv3.Config {
	s := c.settings
	options := []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: s.dialTimeout}),
		grpc.WithIdleTimeout(0),
		grpc.WithChainUnaryInterceptor(failFast, loginOnce),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	}
	if s.tls != nil {
		// Config.TLS takes certificates that never change. This option comes after those that
		// etcd's client makes of it, and replaces them.
		options = append(options, grpc.WithTransportCredentials(s.tls.Credentials()))
	}
	return clientv3.Config{
		Endpoints:            s.endpoints,
		Username:             s.username,
		Password:             s.password,
		DialTimeout:          s.dialTimeout,
		DialKeepAliveTime:    s.keepaliveTime,
		DialKeepAliveTimeout: s.keepaliveTimeout,
		// The loop has its own backoff. This is one round over the members, and one more for a new
		// token.
		MaxUnaryRetries: uint(len(s.endpoints)) + 1,
		Context:         ctx,
		Logger:          demoted(c.log),
		DialOptions:     options,
	}
}

// failFast makes reads fail with the reason if no member can be reached. etcd's client would wait
// for the deadline, and then know only that it has passed.
func failFast(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// loginOnce prevents a login from calling itself without end. etcd's client sends its present token
// with a login. Servers up to 3.4 refuse a login with an expired token, and the client takes that
// as a reason to log in. loginOnce turns the error into one that the client does not know. The loop
// then makes a new client, which has no token to send.
func loginOnce(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err != nil && method == etcdserverpb.Auth_Authenticate_FullMethodName && isAuthError(err) {
		return status.Errorf(codes.Unauthenticated, "etcd refused to renew the login: %s", status.Convert(err).Message())
	}
	return err
}

// discard closes a client if it is the present one. If several watches want a new client, the first
// gets it for all of them.
func (c *client) discard(old *clientv3.Client) {
	c.mu.Lock()
	same := old != nil && c.current == old
	if same {
		c.current, c.made = nil, make(chan struct{})
	}
	c.mu.Unlock()
	if same {
		_ = old.Close() // says only that its context was cancelled
	}
}

// session is the use of the shared client by one watcher. It is the watcher's store.
type session struct {
	client *client

	mu   sync.Mutex
	used *clientv3.Client // last
}

func (s *session) get(ctx context.Context) (*clientv3.Client, error) {
	c, err := s.client.get(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.used = c
	s.mu.Unlock()
	return c, nil
}

func (s *session) connect(ctx context.Context) error {
	_, err := s.get(ctx)
	return err
}

func (s *session) list(ctx context.Context, prefix string, serializable bool) (*clientv3.GetResponse, error) {
	c, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	opts := []clientv3.OpOption{clientv3.WithPrefix()}
	if serializable {
		opts = append(opts, clientv3.WithSerializable())
	}
	return c.Get(ctx, prefix, opts...)
}

func (s *session) ping(ctx context.Context, prefix string) error {
	c, err := s.get(ctx)
	if err != nil {
		return err
	}
	_, err = c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	return err
}

func (s *session) hasLease(ctx context.Context, id int64) (bool, error) {
	c, err := s.get(ctx)
	if err != nil {
		return false, err
	}
	resp, err := c.TimeToLive(ctx, clientv3.LeaseID(id))
	if err != nil {
		return false, err
	}
	return resp.TTL > 0, nil
}

// watch uses its own clientv3.Watcher. etcd's client puts all watches of one Watcher on one stream,
// and a stream keeps the token with which it was opened.
func (s *session) watch(ctx context.Context, prefix string, revision int64) (clientv3.WatchChan, error) {
	c, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	own := clientv3.NewWatcher(c)
	context.AfterFunc(ctx, func() { _ = own.Close() }) // says only that its context was cancelled
	return own.Watch(clientv3.WithRequireLeader(ctx), prefix,
		clientv3.WithPrefix(), clientv3.WithRev(revision), clientv3.WithCreatedNotify(), clientv3.WithProgressNotify()), nil
}

func (s *session) awaitLink(ctx context.Context, up bool) error {
	for {
		current, made := s.client.peek()
		if current == nil {
			if !up {
				return nil
			}
			select {
			case <-made:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		conn := current.ActiveConnection()
		state := conn.GetState()
		if (state == connectivity.Ready) == up {
			return nil
		}
		if up && state == connectivity.Idle {
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) { // A discarded client changes to SHUTDOWN.
			return ctx.Err()
		}
	}
}

func (s *session) renew() {
	s.mu.Lock()
	old := s.used
	s.mu.Unlock()
	s.client.discard(old)
}

// demoted is a logger for etcd's client, which logs at DEBUG only. The loop handles the client's
// errors, and logs them.
func demoted(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return demotedCore{core} }))
}

type demotedCore struct{ zapcore.Core }

func (d demotedCore) Enabled(zapcore.Level) bool { return d.Core.Enabled(zapcore.DebugLevel) }

func (d demotedCore) With(fields []zapcore.Field) zapcore.Core {
	return demotedCore{d.Core.With(fields)}
}

func (d demotedCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !d.Enabled(e.Level) {
		return ce
	}
	e.Level = zapcore.DebugLevel
	return ce.AddCore(e, d)
}
