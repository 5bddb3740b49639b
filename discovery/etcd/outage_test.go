package etcd

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery"
)

var errDead = &unreachableError{status.Error(codes.Unavailable, "connection refused\nWARN forged")}

// Services of one cluster that is down are a few lines in the log, however long that lasts, and one
// line when it is back.
func TestAnOutageIsAFewLines(t *testing.T) {
	const services = 50
	for name, tt := range map[string]struct {
		lasts      time.Duration
		warns, ago int
	}{
		"too short to tell": {500 * time.Millisecond, 0, 0},
		"some seconds":      {10 * time.Second, 1, 1},
		"two hours":         {2 * time.Hour, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				o := newOutages(zap.New(core))
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				defer wg.Wait()
				defer cancel()
				stores := make([]*fakeStore, services)
				for i := range stores {
					s := newFakeStore()
					s.clientErr, s.link = errDead, false
					stores[i] = s
					wg.Go(func() { newWatcher(s, fmt.Sprintf("s%02d/", i), LayoutAuto, o).run(ctx, func(discovery.State) {}) })
				}
				time.Sleep(tt.lasts)
				for _, s := range stores {
					s.do(func() { s.clientErr = nil })
					s.setLink(true)
				}
				time.Sleep(time.Minute)
				warns := logs.FilterLevelExact(zap.WarnLevel).All()
				if len(warns) != tt.warns {
					t.Fatalf("%d warnings, expected %d: %v", len(warns), tt.warns, warns)
				}
				for _, w := range warns {
					fields := w.ContextMap()
					if fields["services"] != int64(services) || len(fields["prefixes"].([]any)) != 5 {
						t.Errorf("the fields: %v", fields)
					}
					if text := fields["error"].(string); discovery.Printable(text) != text {
						t.Errorf("the error is not fit for a log: %q", text)
					}
				}
				if n := logs.FilterMessage("etcd is back").Len(); n != tt.ago {
					t.Errorf("%d lines that etcd is back, expected %d", n, tt.ago)
				}
				if n := logs.Len(); n != tt.warns+tt.ago {
					t.Errorf("%d lines: %v", n, logs.All())
				}
			})
		})
	}
}

// What etcd denies is told beside an outage, and does not hide the next one.
func TestADeniedServiceIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		o := newOutages(zap.New(core))
		denied, dead, late := new(watcher), new(watcher), new(watcher)
		forbidden := status.Error(codes.PermissionDenied, "etcdserver: permission denied")
		o.begin(denied, trouble{prefix: "secret/", err: forbidden})
		time.Sleep(time.Hour)
		expect := func(what string, warns, backs int) {
			t.Helper()
			synctest.Wait()
			if w, b := logs.FilterLevelExact(zap.WarnLevel).Len(), logs.FilterMessage("etcd is back").Len(); w != warns || b != backs {
				t.Errorf("%s: %d warnings and %d lines that it is over, expected %d and %d", what, w, b, warns, backs)
			}
		}
		expect("denied for an hour", 1, 0)
		o.begin(dead, trouble{prefix: "user/", err: errDead})
		time.Sleep(2 * time.Second)
		expect("etcd is down, too", 2, 0)
		o.end(dead, 7)
		expect("etcd is up", 2, 1)
		o.begin(late, trouble{prefix: "other/", err: forbidden})
		o.begin(late, trouble{prefix: "other/", err: forbidden})
		time.Sleep(deniedEvery)
		expect("another service is denied", 3, 1)
		o.forget(late)
		o.end(denied, 8)
		expect("nothing is denied", 3, 2)
	})
}

// Fifty services ask a port at which nobody listens. Neither etcd's client nor grpc adds lines.
func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	core, logs := observer.New(zap.InfoLevel)
	c := newClient(&settings{endpoints: []string{addr}, dialTimeout: time.Second, keepaliveTime: 10 * time.Second, keepaliveTimeout: time.Second}, zap.New(core))
	ctx, cancel := context.WithCancel(t.Context())
	var wg, failed sync.WaitGroup
	for i := range 50 {
		failed.Add(1)
		once := sync.OnceFunc(failed.Done)
		wg.Go(func() {
			newWatcher(&session{client: c}, fmt.Sprintf("s%d/", i), LayoutAuto, c.outages).run(ctx, func(s discovery.State) {
				if s.Err != nil {
					once()
				}
			})
		})
	}
	failed.Wait()
	for deadline := time.Now().Add(10 * time.Second); logs.Len() == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	cancel()
	wg.Wait()
	if err := c.Destruct(); err != nil {
		t.Error(err)
	}
	if all := logs.All(); len(all) == 0 || len(all) > 2 {
		t.Errorf("%d lines: %v", len(all), all)
	}
}
