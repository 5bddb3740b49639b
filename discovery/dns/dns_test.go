package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeResolver answers what the test says and records when it was asked.
type fakeResolver struct {
	start time.Time

	mu      sync.Mutex
	ips     []string
	records []*net.SRV
	err     error
	hang    bool
	asked   []time.Duration
}

func (r *fakeResolver) set(err error, ips ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.ips = err, ips
}

func (r *fakeResolver) times() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration(nil), r.asked...)
}

func (r *fakeResolver) ask(ctx context.Context) ([]string, []*net.SRV, error) {
	r.mu.Lock()
	r.asked = append(r.asked, time.Since(r.start))
	ips, records, err, hang := r.ips, r.records, r.err, r.hang
	r.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	return ips, records, err
}

func (r *fakeResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	ips, _, err := r.ask(ctx)
	if network != "ip" || host != "user.internal" {
		return nil, errors.New("asked for something else")
	}
	var out []netip.Addr
	for _, ip := range ips {
		out = append(out, netip.MustParseAddr(ip))
	}
	return out, err
}

func (r *fakeResolver) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	_, records, err := r.ask(ctx)
	if service != "" || proto != "" || name != "_grpc._tcp.user.internal" {
		return "", nil, errors.New("asked for something else")
	}
	return "", records, err
}

var (
	errAbsent = &net.DNSError{Err: "no such host", Name: "user.internal", IsNotFound: true}
	errServer = &net.DNSError{Err: "server misbehaving", Name: "user.internal", IsTemporary: true}
)

// polling runs a test in virtual time beside a feed of the poller.
func polling(t *testing.T, r *fakeResolver, lookup func(context.Context, resolver) (list, error), test func(t *testing.T, last func() discovery.State)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r.start = time.Now()
		p := poller{resolver: r, lookup: lookup, refresh: 30 * time.Second}
		var mu sync.Mutex
		var state discovery.State
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			p.run(ctx, func(s discovery.State) {
				mu.Lock()
				defer mu.Unlock()
				state = s
			})
		})
		defer wg.Wait()
		defer cancel()
		test(t, func() discovery.State {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return state
		})
	})
}

func wantAddrs(t *testing.T, s discovery.State, want ...string) {
	t.Helper()
	var got []string
	for _, e := range s.Endpoints {
		got = append(got, e.Addr)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAddresses(t *testing.T) {
	lookup := lookupHost("user.internal", "9001")
	t.Run("are all instances, and looked up again", func(t *testing.T) {
		r := &fakeResolver{ips: []string{"10.0.0.2", "10.0.0.1", "::ffff:10.0.0.2", "2001:db8::1"}}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			got := last()
			wantAddrs(t, got, "10.0.0.1:9001", "10.0.0.2:9001", "[2001:db8::1]:9001")
			if !got.Synced || got.Err != nil || got.LastContact.IsZero() {
				t.Errorf("got %+v", got)
			}
			r.set(nil, "10.0.0.3")
			time.Sleep(34 * time.Second)
			wantAddrs(t, last(), "10.0.0.3:9001")
			if times := r.times(); len(times) != 2 || times[1] < 27*time.Second || times[1] > 33*time.Second {
				t.Errorf("looked up at %v", times)
			}
		})
	})
	t.Run("that nobody can dial are skipped", func(t *testing.T) {
		r := &fakeResolver{ips: []string{"0.0.0.0", "10.0.0.1"}}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			got := last()
			wantAddrs(t, got, "10.0.0.1:9001")
			if len(got.Skipped) != 1 || got.Skipped[0].ID != "0.0.0.0:9001" {
				t.Errorf("skipped %+v", got.Skipped)
			}
		})
	})
	t.Run("stay through errors, which are retried soon", func(t *testing.T) {
		r := &fakeResolver{ips: []string{"10.0.0.1"}}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			last()
			r.set(errServer)
			time.Sleep(10 * time.Minute)
			got := last()
			wantAddrs(t, got, "10.0.0.1:9001")
			if !got.Synced || !errors.Is(got.Err, errServer) || time.Since(got.LastContact) < 9*time.Minute {
				t.Errorf("got %+v", got)
			}
			times := r.times()
			for i, seconds := range []int{1, 2, 4, 8, 16, 30} {
				want := time.Duration(seconds) * time.Second
				if step := times[i+2] - times[i+1]; step < want*8/10 || step > want*12/10 {
					t.Errorf("wait %d was %v, want about %v", i, step, want)
				}
			}
			r.set(nil, "10.0.0.2")
			time.Sleep(time.Minute)
			got = last()
			wantAddrs(t, got, "10.0.0.2:9001")
			if got.Err != nil {
				t.Errorf("error %v", got.Err)
			}
		})
	})
	t.Run("are not given up when the name is away for a moment", func(t *testing.T) {
		r := &fakeResolver{ips: []string{"10.0.0.1"}}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			last()
			for range 2 { // two answers each time, with a good one in between
				r.set(errAbsent)
				for asked := len(r.times()); len(r.times()) < asked+2; {
					time.Sleep(500 * time.Millisecond)
				}
				wantAddrs(t, last(), "10.0.0.1:9001")
				r.set(nil, "10.0.0.1")
				time.Sleep(time.Minute)
			}
		})
	})
	t.Run("are given up when the name is gone for good", func(t *testing.T) {
		r := &fakeResolver{ips: []string{"10.0.0.1"}}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			last()
			r.set(errAbsent)
			time.Sleep(time.Minute)
			got := last()
			wantAddrs(t, got)
			if !got.Synced || !errors.Is(got.Err, errAbsent) {
				t.Errorf("got %+v", got)
			}
		})
	})
	t.Run("are not known before the first answer", func(t *testing.T) {
		r := &fakeResolver{err: errServer}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			time.Sleep(time.Minute)
			if got := last(); got.Synced || !got.LastContact.IsZero() || !strings.Contains(got.Err.Error(), "looking up the addresses of user.internal") {
				t.Errorf("got %+v", got)
			}
		})
	})
	t.Run("of a name that was never there are an empty list, after some tries", func(t *testing.T) {
		r := &fakeResolver{err: errAbsent}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			if last().Synced {
				t.Error("one answer was believed")
			}
			time.Sleep(10 * time.Second)
			if got := last(); !got.Synced || got.Err == nil {
				t.Errorf("got %+v", got)
			}
		})
	})
	t.Run("of a server that does not answer are waited for five seconds", func(t *testing.T) {
		r := &fakeResolver{hang: true}
		polling(t, r, lookup, func(t *testing.T, last func() discovery.State) {
			time.Sleep(5*time.Second + time.Millisecond)
			if got := last(); !errors.Is(got.Err, context.DeadlineExceeded) {
				t.Errorf("got %+v", got)
			}
		})
	})
}

func TestServiceRecords(t *testing.T) {
	srv := func(target string, port, priority, weight uint16) *net.SRV {
		return &net.SRV{Target: target, Port: port, Priority: priority, Weight: weight}
	}
	for name, c := range map[string]struct {
		records []*net.SRV
		err     error
		want    []discovery.Endpoint
		skipped int
		fails   string
	}{
		"ports and weights": {
			records: []*net.SRV{srv("b.internal.", 9002, 0, 30), srv("a.internal.", 9001, 0, 10)},
			want:    []discovery.Endpoint{{ID: "a.internal:9001", Addr: "a.internal:9001", Weight: 10}, {ID: "b.internal:9002", Addr: "b.internal:9002", Weight: 30}},
		},
		"only the preferred ones": {
			records: []*net.SRV{srv("c.", 1, 20, 0), srv("a.", 1, 10, 0), srv("b.", 1, 10, 0)},
			want:    []discovery.Endpoint{{ID: "a:1", Addr: "a:1"}, {ID: "b:1", Addr: "b:1"}},
		},
		"no weights at all": {
			records: []*net.SRV{srv("a.", 1, 0, 0)},
			want:    []discovery.Endpoint{{ID: "a:1", Addr: "a:1"}},
		},
		"no weight beside others": {
			records: []*net.SRV{srv("a.", 1, 0, 0), srv("b.", 1, 0, 50)},
			want:    []discovery.Endpoint{{ID: "a:1", Addr: "a:1", Weight: 1}, {ID: "b:1", Addr: "b:1", Weight: 50}},
		},
		"the same twice": {
			records: []*net.SRV{srv("a.", 1, 0, 5), srv("a.", 1, 0, 6)},
			want:    []discovery.Endpoint{{ID: "a:1", Addr: "a:1", Weight: 11}},
		},
		"a service that is said not to be there": {records: []*net.SRV{srv(".", 1, 0, 0)}},
		"a record that cannot be used":           {records: []*net.SRV{srv("a.", 0, 0, 0)}, skipped: 1},
		"records beside an error": {
			records: []*net.SRV{srv("a.", 1, 0, 0)}, err: errors.New("invalid names"),
			want: []discovery.Endpoint{{ID: "a:1", Addr: "a:1"}},
		},
		"an error": {err: errServer, fails: "looking up the SRV records of _grpc._tcp.user.internal"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &fakeResolver{records: c.records, err: c.err}
			got, err := lookupService("_grpc._tcp.user.internal", false)(t.Context(), r)
			wantErr(t, err, c.fails)
			if !reflect.DeepEqual(got.endpoints, c.want) || len(got.skipped) != c.skipped {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case text != "" && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("got error %v, want one with %q", err, text)
	}
}
