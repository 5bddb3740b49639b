package pool

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// TestForgottenEndpointsFreeTheirMemory: not when their drain_timeout would have been, which may be
// minutes later.
func TestForgottenEndpointsFreeTheirMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := startFleet(t, Settings{DrainTimeout: time.Hour})
		g.open = true
		f.list("stays", "goes")
		time.Sleep(time.Second)
		f.lock()
		goes, stays := weak.Make(f.endpoints["goes"]), weak.Make(f.endpoints["stays"])
		f.publishAndUnlock()
		f.list("stays")
		time.Sleep(time.Minute)
		runtime.GC()
		runtime.GC()
		if goes.Value() != nil {
			t.Error("the removed endpoint is still in memory")
		}
		if stays.Value() == nil {
			t.Error("the other one is not: nothing is shown")
		}
	})
}
