package pool

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// Forgotten endpoints free their memory at once. They do not wait for the end of their
// drain_timeout, which may be minutes later.
func TestForgottenEndpointsFreeTheirMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{DrainTimeout: time.Hour})
		g.open = true
		b.list("stays", "goes")
		time.Sleep(time.Second)
		b.lock()
		goes, stays := weak.Make(b.endpoints["goes"]), weak.Make(b.endpoints["stays"])
		b.publishAndUnlock()
		b.list("stays")
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
