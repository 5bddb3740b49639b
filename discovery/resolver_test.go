package discovery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"
)

// channel records what a resolver tells its ClientConn.
type channel struct {
	resolver.ClientConn
	states []resolver.State
	errs   []error
}

func (c *channel) UpdateState(s resolver.State) error {
	c.states = append(c.states, s)
	return nil
}

func (c *channel) ReportError(err error) { c.errs = append(c.errs, err) }

func (c *channel) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

func TestResolver(t *testing.T) {
	broken := errors.New("broken")
	a := Endpoint{ID: "k/1", Addr: "a:1", Weight: 3, Metadata: map[string]string{"zone": "x"}}
	b := Endpoint{ID: "k/2", Addr: "a:1"}
	for name, c := range map[string]struct {
		states []State
		lists  [][]Endpoint // handed on
		errs   int          // reported
	}{
		"nothing is known":                      {[]State{{}}, nil, 0},
		"an error before the first list":        {[]State{{Err: broken}}, nil, 1},
		"a list":                                {[]State{{Synced: true, Endpoints: []Endpoint{a}}}, [][]Endpoint{{a}}, 0},
		"two registrations of one address":      {[]State{{Synced: true, Endpoints: []Endpoint{a, b}}}, [][]Endpoint{{a, b}}, 0},
		"a list from a snapshot":                {[]State{{Stale: true, Endpoints: []Endpoint{a}}}, [][]Endpoint{{a}}, 0},
		"an empty list that is meant":           {[]State{{Synced: true}}, [][]Endpoint{{}}, 0},
		"an error after a list":                 {[]State{{Synced: true, Endpoints: []Endpoint{a}}, {Synced: true, Endpoints: []Endpoint{a}, Err: broken}}, [][]Endpoint{{a}}, 0},
		"a list that is meant to become empty":  {[]State{{Synced: true, Endpoints: []Endpoint{a}}, {Synced: true}}, [][]Endpoint{{a}, {}}, 0},
		"a change that is none":                 {[]State{{Synced: true, Endpoints: []Endpoint{a}}, {Synced: true, Endpoints: []Endpoint{a}, Revision: 2}}, [][]Endpoint{{a}}, 0},
		"other metadata":                        {[]State{{Synced: true, Endpoints: []Endpoint{b}}, {Synced: true, Endpoints: []Endpoint{{ID: "k/2", Addr: "a:1", Metadata: map[string]string{"v": "2"}}}}}, [][]Endpoint{{b}, {{ID: "k/2", Addr: "a:1", Metadata: map[string]string{"v": "2"}}}}, 0},
		"an empty list that is known only so":   {[]State{{Synced: true}, {Synced: true}}, [][]Endpoint{{}}, 0},
		"an error, then a list, then the error": {[]State{{Err: broken}, {Synced: true, Endpoints: []Endpoint{a}}, {Synced: true, Endpoints: []Endpoint{a}, Err: broken}}, [][]Endpoint{{a}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := make(driven)
				f := NewFeed(src)
				defer f.Close()
				cc := new(channel)
				r, err := NewResolverBuilder(f).Build(resolver.Target{}, cc, resolver.BuildOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range c.states {
					src <- s
					time.Sleep(time.Second)
				}
				r.ResolveNow(resolver.ResolveNowOptions{})
				r.Close()
				src <- synced("after:1")
				time.Sleep(time.Second)
				if len(cc.errs) != c.errs {
					t.Errorf("errors %v, want %d", cc.errs, c.errs)
				}
				if len(cc.states) != len(c.lists) {
					t.Fatalf("handed on %v, want %v", cc.states, c.lists)
				}
				for i, want := range c.lists {
					wantResolved(t, cc.states[i], want)
				}
			})
		})
	}
}

func wantResolved(t *testing.T, got resolver.State, want []Endpoint) {
	t.Helper()
	if len(got.Endpoints) != len(want) || len(got.Addresses) != len(want) || got.Endpoints == nil {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i, w := range want {
		a := got.Endpoints[i].Addresses
		if len(a) != 1 || a[0].Addr != w.Addr || got.Addresses[i].Addr != w.Addr {
			t.Errorf("endpoint %d: got %+v, want %s", i, got.Endpoints[i], w.Addr)
		}
		for _, from := range []func() (Endpoint, bool){
			func() (Endpoint, bool) { return EndpointFromAddress(a[0]) },
			func() (Endpoint, bool) { return EndpointFromAddress(got.Addresses[i]) },
			func() (Endpoint, bool) { return EndpointFromResolver(got.Endpoints[i]) },
		} {
			if e, ok := from(); !ok || !e.Equal(w) {
				t.Errorf("endpoint %d: got %+v, want %+v", i, e, w)
			}
		}
	}
}

func TestEndpointFromForeignAddress(t *testing.T) {
	if e, ok := EndpointFromAddress(resolver.Address{Addr: "a:1"}); ok {
		t.Errorf("got %+v", e)
	}
}

func TestAttributesOfEqualEndpointsAreEqual(t *testing.T) {
	one := Endpoint{ID: "k/1", Addr: "a:1", Weight: 3, Metadata: map[string]string{"zone": "x"}}
	same := Endpoint{ID: "k/1", Addr: "a:1", Weight: 3, Metadata: map[string]string{"zone": "x"}}
	heavier := same
	heavier.Weight = 4
	attrs := func(e Endpoint) resolver.Address { return resolverState([]Endpoint{e}).Addresses[0] }
	if !attrs(one).Equal(attrs(same)) {
		t.Error("equal endpoints have different attributes")
	}
	if attrs(one).Equal(attrs(heavier)) {
		t.Error("different endpoints have equal attributes")
	}
}

// A call on a real channel fails at once, with the reason, while nothing is known.
func TestResolverInAChannel(t *testing.T) {
	src := make(driven)
	f := NewFeed(src)
	defer f.Close()
	conn, err := grpc.NewClient(Scheme+":///user", grpc.WithResolvers(NewResolverBuilder(f)),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	conn.Connect()
	src <- State{Err: errors.New("etcd is not there")}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = conn.Invoke(ctx, "/s/m", nil, nil)
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	wantError(t, err, "no instances are known yet: etcd is not there")
}
