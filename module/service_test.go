package module

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-grpc/gateway/internal/schema"
)

// slowLoader takes a second, and counts how many loads run.
type slowLoader struct{ running, most *atomic.Int32 }

func (l slowLoader) Load(context.Context) (*schema.Schema, error) {
	n := l.running.Add(1)
	defer l.running.Add(-1)
	for most := l.most.Load(); n > most && !l.most.CompareAndSwap(most, n); most = l.most.Load() {
	}
	time.Sleep(time.Second)
	return nil, nil
}

func (slowLoader) Watch(context.Context, func()) {}

// TestSchemasAreReadEightAtATime starts thirty loads at once.
func TestSchemasAreReadEightAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		closed := &sharedChannel{closed: true} // It has no instance to wait for.
		gate := make(chan struct{}, schemasAtOnce)
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				g := gatedLoader{slowLoader{&running, &most}, closed, gate}
				if _, err := g.Load(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most.Load() != 8 {
			t.Errorf("%d schemas were read at the same time", most.Load())
		}
		for range schemasAtOnce { // All read slowly.
			gate <- struct{}{}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := (gatedLoader{slowLoader{&running, &most}, closed, gate}).Load(ctx); err == nil {
			t.Error("a load that was cancelled while it waited has no error")
		}
	})
}

// TestQuietLogs: a service of a catalog has lines at DEBUG, unless something is wrong with the
// gateway itself.
func TestQuietLogs(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	log := quiet(zap.New(core)).With(zap.String("upstream", "fleet:user"))
	log.Warn("a warning")
	log.Info("news")
	if logs.Len() != 0 {
		t.Errorf("logged: %v", logs.All())
	}
	log.Error("an error")
	if all := logs.All(); len(all) != 1 || all[0].Level != zap.ErrorLevel || all[0].ContextMap()["upstream"] != "fleet:user" {
		t.Errorf("logged: %v", all)
	}
	core, logs = observer.New(zap.DebugLevel)
	quiet(zap.New(core)).Warn("a warning")
	if all := logs.All(); len(all) != 1 || all[0].Level != zap.DebugLevel {
		t.Errorf("logged: %v", all)
	}
}
