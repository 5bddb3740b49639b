package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/clienttls"
)

// fakeServer speaks etcd's protocol as far as a session needs it, with logins. It refuses logins
// that bring an expired token, as etcd 3.4 does.
type fakeServer struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedWatchServer
	etcdserverpb.UnimplementedAuthServer

	addr string

	mu       sync.Mutex
	valid    string // the token; empty: no login needed
	logins   int
	ranges   []*etcdserverpb.RangeRequest
	creates  []*etcdserverpb.WatchCreateRequest
	streams  int
	leaders  []string // the require-leader headers of streams
	rejected int
}

func startServer(t *testing.T) *fakeServer {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{addr: lis.Addr().String()}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, s)
	etcdserverpb.RegisterWatchServer(server, s)
	etcdserverpb.RegisterAuthServer(server, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(lis) })
	t.Cleanup(func() {
		server.Stop()
		wg.Wait()
	})
	return s
}

// admit checks the token of a call.
func (s *fakeServer) admit(ctx context.Context, login bool) error {
	md, _ := metadata.FromIncomingContext(ctx)
	token := strings.Join(md.Get(rpctypes.TokenFieldNameGRPC), "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.valid == "" || token == s.valid || login && token == "" {
		return nil
	}
	s.rejected++
	return rpctypes.ErrGRPCInvalidAuthToken
}

func (s *fakeServer) Authenticate(ctx context.Context, r *etcdserverpb.AuthenticateRequest) (*etcdserverpb.AuthenticateResponse, error) {
	if err := s.admit(ctx, true); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins++
	switch {
	case s.valid == "":
		return nil, rpctypes.ErrGRPCAuthNotEnabled
	case r.GetName() != "root" || r.GetPassword() != "secret":
		return nil, rpctypes.ErrGRPCAuthFailed
	}
	return &etcdserverpb.AuthenticateResponse{Token: s.valid}, nil
}

func (s *fakeServer) Range(ctx context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	if err := s.admit(ctx, false); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = append(s.ranges, r)
	return &etcdserverpb.RangeResponse{
		Header: &etcdserverpb.ResponseHeader{Revision: 7},
		Kvs:    []*mvccpb.KeyValue{{Key: []byte("user/1"), Value: []byte("a:1"), ModRevision: 7}},
	}, nil
}

func (s *fakeServer) Watch(stream etcdserverpb.Watch_WatchServer) error {
	if err := s.admit(stream.Context(), false); err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.mu.Lock()
	s.streams++
	s.leaders = append(s.leaders, strings.Join(md.Get(rpctypes.MetadataRequireLeaderKey), ""))
	s.mu.Unlock()
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client has gone
		}
		create := req.GetCreateRequest()
		if create == nil {
			continue
		}
		s.mu.Lock()
		s.creates = append(s.creates, create)
		s.mu.Unlock()
		kv := &mvccpb.KeyValue{Key: []byte("user/2"), Value: []byte("b:1"), ModRevision: 8}
		for _, resp := range []*etcdserverpb.WatchResponse{
			{Header: &etcdserverpb.ResponseHeader{Revision: 7}, Created: true},
			{Header: &etcdserverpb.ResponseHeader{Revision: 8}, Events: []*clientv3Event{{Kv: kv}}},
		} {
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
	}
}

type clientv3Event = mvccpb.Event

func testSession(t *testing.T, s *settings) *session {
	t.Helper()
	s.dialTimeout, s.keepaliveTime, s.keepaliveTimeout = 5*time.Second, 10*time.Second, 5*time.Second
	c := newClient(s, zap.NewNop())
	t.Cleanup(func() {
		if err := c.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return &session{client: c}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSessionAsksForWhatTheLoopNeeds(t *testing.T) {
	srv := startServer(t)
	s := testSession(t, &settings{endpoints: []string{srv.addr}})
	ctx := testContext(t)
	for _, serializable := range []bool{false, true} {
		resp, err := s.list(ctx, "user/", serializable)
		if err != nil || len(resp.Kvs) != 1 || resp.Header.GetRevision() != 7 {
			t.Fatalf("list: %v, %v", resp, err)
		}
	}
	if err := s.ping(ctx, "user/"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ serializable, count bool }{{false, false}, {true, false}, {true, true}} {
		got := srv.ranges[i]
		if string(got.GetKey()) != "user/" || string(got.GetRangeEnd()) != "user0" || got.GetSerializable() != want.serializable || got.GetCountOnly() != want.count {
			t.Errorf("read %d: %v", i, got)
		}
	}
	for range 2 {
		wctx, cancel := context.WithCancel(ctx)
		ch, err := s.watch(wctx, "user/", 8)
		if err != nil {
			t.Fatal(err)
		}
		created, event := <-ch, <-ch
		if !created.Created || len(event.Events) != 1 || event.Events[0].Kv.ModRevision != 8 {
			t.Errorf("got %+v and %+v", created, event)
		}
		cancel()
		for range ch { // until it is closed
		}
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.streams != 2 || srv.leaders[0] != "true" {
		t.Errorf("%d streams, with require-leader %q; want one for each watch", srv.streams, srv.leaders)
	}
	got := srv.creates[0]
	if string(got.GetKey()) != "user/" || string(got.GetRangeEnd()) != "user0" || got.GetStartRevision() != 8 || !got.GetProgressNotify() {
		t.Errorf("watch: %v", got)
	}
}

func TestSessionSaysWhyEtcdCannotBeReached(t *testing.T) {
	for name, s := range map[string]*settings{
		"without a login": {endpoints: []string{"127.0.0.1:1", "127.0.0.1:2"}},
		"with a login":    {endpoints: []string{"127.0.0.1:1"}, username: "root", password: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			session := testSession(t, s)
			ctx := testContext(t)
			_, err := session.list(ctx, "user/", false)
			wantErr(t, err, "connection refused")
			var unreachable *unreachableError
			if errors.As(err, &unreachable) != (s.username != "") {
				t.Errorf("got %T", err)
			}
			if err := session.awaitLink(ctx, false); err != nil {
				t.Error(err)
			}
			soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			if session.awaitLink(soon, true) == nil {
				t.Error("the link is said to be up")
			}
		})
	}
}

func TestSessionAwaitsTheLink(t *testing.T) {
	srv := startServer(t)
	s := testSession(t, &settings{endpoints: []string{srv.addr}})
	ctx := testContext(t)
	up := make(chan error)
	go func() { up <- s.awaitLink(ctx, true) }() // before there is a client
	if err := s.ping(ctx, "user/"); err != nil {
		t.Fatal(err)
	}
	if err := <-up; err != nil {
		t.Error(err)
	}
	down := make(chan error)
	go func() { down <- s.awaitLink(ctx, false) }()
	s.renew()
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestExpiredTokenAtTheLogin(t *testing.T) {
	srv := startServer(t)
	srv.valid = "first"
	s := testSession(t, &settings{endpoints: []string{srv.addr}, username: "root", password: "secret"})
	ctx := testContext(t)
	if err := s.ping(ctx, "user/"); err != nil {
		t.Fatal(err)
	}
	srv.mu.Lock()
	srv.valid = "second"
	srv.mu.Unlock()
	err := s.ping(ctx, "user/")
	if !isAuthError(err) {
		t.Errorf("with an expired token: %v", err)
	}
	wctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ch, err := s.watch(wctx, "user/", 8)
	if err != nil {
		t.Fatal(err)
	}
	if resp := <-ch; !isAuthError(resp.Err()) {
		t.Errorf("watch with an expired token: %+v", resp)
	}
	srv.mu.Lock()
	rejected := srv.rejected
	srv.mu.Unlock()
	if rejected > 10 {
		t.Errorf("%d refused calls: the client logs in within its login", rejected)
	}
	s.renew()
	if err := s.ping(ctx, "user/"); err != nil {
		t.Errorf("with a new client: %v", err)
	}
}

func TestWrongPassword(t *testing.T) {
	srv := startServer(t)
	srv.valid = "first"
	s := testSession(t, &settings{endpoints: []string{srv.addr}, username: "root", password: "guess"})
	_, err := s.list(testContext(t), "user/", false)
	wantErr(t, err, "logging in: etcdserver: authentication failed")
	var unreachable *unreachableError
	if errors.As(err, &unreachable) {
		t.Error("a wrong password is said to be an unreachable etcd, and would be tried too often")
	}
}

func TestOneClientForAllSessions(t *testing.T) {
	srv := startServer(t)
	first := testSession(t, &settings{endpoints: []string{srv.addr}})
	second := &session{client: first.client}
	ctx := testContext(t)
	a, err := first.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := second.get(ctx); a != b {
		t.Error("two sessions got two clients")
	}
	first.renew()
	second.renew() // throws the same old one away, not the new one
	c, err := first.get(ctx)
	if err != nil || c == a {
		t.Errorf("got the old client, %v", err)
	}
	second.renew()
	if d, _ := first.get(ctx); d != c {
		t.Error("a session that had the old client threw the new one away")
	}
}

func TestMakingAClientEndsWithItsContext(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	s := testSession(t, &settings{endpoints: []string{lis.Addr().String()}, username: "root", password: "secret"})
	ctx, cancel := context.WithCancel(testContext(t))
	errs := make(chan error)
	for range 2 {
		go func() { errs <- s.ping(ctx, "user/") }()
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	for range 2 {
		if err := <-errs; err == nil {
			t.Error("got an answer from a server that has none")
		}
	}
}

// The whole: loop, session, client, protocol.
func TestWatcherOverASession(t *testing.T) {
	srv := startServer(t)
	s := testSession(t, &settings{endpoints: []string{srv.addr}})
	ctx, cancel := context.WithCancel(testContext(t))
	states := make(chan discovery.State, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		newWatcher(s, "user/", LayoutAuto, newOutages(zap.NewNop())).run(ctx, func(s discovery.State) { states <- s })
	})
	defer wg.Wait()
	defer cancel()
	for {
		select {
		case st := <-states:
			if len(st.Endpoints) == 2 && st.Err == nil {
				return
			}
		case <-ctx.Done():
			t.Fatal("the second instance was not found")
		}
	}
}

func TestTheLogMayGoElsewhere(t *testing.T) {
	first, before := observer.New(zap.DebugLevel)
	second, after := observer.New(zap.WarnLevel)
	present := zap.New(first)
	log := lasting(func() *zap.Logger { return present }).Named("etcd").With(zap.String("prefix", "user/"))
	log.Info("one")
	present = zap.New(second)
	log.Info("two")
	log.Warn("three")
	demoted(log).Error("four")
	if got := before.All(); len(got) != 1 || got[0].Message != "one" {
		t.Errorf("the first log has %v", got)
	}
	got := after.All()
	if len(got) != 1 || got[0].Message != "three" || got[0].LoggerName != "etcd" || got[0].ContextMap()["prefix"] != "user/" {
		t.Errorf("the second log has %v", got)
	}
}

func TestEtcdsOwnLogIsDemoted(t *testing.T) {
	for level, want := range map[zapcore.Level]int{zap.InfoLevel: 0, zap.DebugLevel: 1} {
		core, logs := observer.New(level)
		demoted(zap.New(core)).With(zap.Int("n", 1)).Error("lost")
		if logs.Len() != want {
			t.Errorf("at level %v: %d entries, want %d", level, logs.Len(), want)
		}
		for _, e := range logs.All() {
			if e.Level != zap.DebugLevel {
				t.Errorf("entry at level %v", e.Level)
			}
		}
	}
}

func TestCheckEndpoints(t *testing.T) {
	for name, c := range map[string]struct {
		endpoints []string
		tls       bool
		want      string // joined by spaces
		err       string
	}{
		"addresses":            {[]string{"h1", "10.0.0.1:2380", "[::1]"}, false, "h1:2379 10.0.0.1:2380 [::1]:2379", ""},
		"URLs":                 {[]string{"http://h1", "http://h2:2380"}, false, "http://h1:2379 http://h2:2380", ""},
		"URLs with TLS":        {[]string{"https://h1"}, true, "https://h1:2379", ""},
		"a list in one":        {[]string{"h1,h2"}, false, "h1:2379 h2:2379", ""},
		"none":                 {nil, false, "", "found none"},
		"empty":                {[]string{""}, false, "", "found nothing"},
		"plain URL with TLS":   {[]string{"http://h1"}, true, "", "because tls is set"},
		"mixed":                {[]string{"https://h1", "h2"}, false, "", "the same scheme"},
		"another scheme":       {[]string{"unix:///x"}, false, "", "expected host:port, http:// or https://"},
		"with a path":          {[]string{"http://h1/x"}, false, "", "expected a host name"},
		"address to listen on": {[]string{"0.0.0.0:2379"}, false, "", "not an unspecified one"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := checkEndpoints(c.endpoints, c.tls)
			wantErr(t, err, c.err)
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	fingerprint := func(change func(*settings)) string {
		s := &settings{endpoints: []string{"h1:2379", "h2:2379"}, username: "u", password: "p", dialTimeout: 1, keepaliveTime: 2, keepaliveTimeout: 3}
		change(s)
		got, err := s.makeFingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	base := fingerprint(func(*settings) {})
	if same := fingerprint(func(s *settings) { s.endpoints = []string{"h2:2379", "h1:2379"} }); same != base {
		t.Error("the order of endpoints matters")
	}
	seen := map[string]string{base: "the base"}
	for name, got := range map[string]string{
		"endpoints":   fingerprint(func(s *settings) { s.endpoints = s.endpoints[:1] }),
		"user":        fingerprint(func(s *settings) { s.username = "v" }),
		"password":    fingerprint(func(s *settings) { s.password = "q" }),
		"no password": fingerprint(func(s *settings) { s.password = "" }),
		"timeout":     fingerprint(func(s *settings) { s.dialTimeout = 9 }),
		"keepalive":   fingerprint(func(s *settings) { s.keepaliveTimeout = 9 }),
		"TLS":         fingerprint(func(s *settings) { s.tls = new(clienttls.Client) }),
	} {
		if other, ok := seen[got]; ok {
			t.Errorf("%s makes no difference to %s", name, other)
		}
		seen[got] = name
	}
}

func TestIsAuthError(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"expired token":          {rpctypes.ErrInvalidAuthToken, true},
		"the same from a watch":  {(&clientv3.WatchResponse{Canceled: true, CancelReason: invalidToken}).Err(), true},
		"wrapped":                {fmt.Errorf("watching: %w", rpctypes.ErrAuthOldRevision), true},
		"no permission":          {rpctypes.ErrPermissionDenied, false},
		"no permission to watch": {(&clientv3.WatchResponse{Canceled: true, CancelReason: denied}).Err(), false},
		"no leader":              {(&clientv3.WatchResponse{Canceled: true, CancelReason: noLeader}).Err(), false},
		"something else":         {errors.New("x"), false},
	} {
		if got := isAuthError(c.err); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestIsQuorumError(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"no leader":                     {rpctypes.ErrNoLeader, true},
		"etcd timed out":                {rpctypes.ErrTimeout, true},
		"we timed out":                  {context.DeadlineExceeded, true},
		"the member saw our deadline":   {status.Error(codes.Unknown, "context deadline exceeded"), true},
		"no connection":                 {status.Error(codes.Unavailable, "connection refused"), true},
		"no connection for the login":   {&unreachableError{status.Error(codes.Unavailable, "connection refused")}, false},
		"no permission":                 {rpctypes.ErrPermissionDenied, false},
		"something else of the member":  {status.Error(codes.Unknown, "broken"), false},
		"something else of the program": {errors.New("broken"), false},
	} {
		if got := isQuorumError(c.err); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
