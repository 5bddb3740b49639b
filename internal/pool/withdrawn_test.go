package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// Instances that somebody has removed from the registry on purpose are not held, however many there
// are.
func TestWithdrawnInstancesAreNotHeld(t *testing.T) {
	all := hosts(10)
	gone := func(listed, withdrawn []string) discovery.State {
		s := holding60(listed...)
		s.Withdrawn = instances(withdrawn...)
		return s
	}
	for name, tt := range map[string]struct {
		then func(b *balancer)
		held int
		left int
	}{
		"lost":                       {func(b *balancer) { b.onFeed(gone(all[:2], nil)) }, 8, 10},
		"withdrawn":                  {func(b *balancer) { b.onFeed(gone(all[:2], all[2:])) }, 0, 2},
		"the last one withdrawn":     {func(b *balancer) { b.onFeed(gone(nil, all)) }, 0, 0},
		"some lost, some withdrawn":  {func(b *balancer) { b.onFeed(gone(nil, all[:3])) }, 7, 7},
		"a few lost, most withdrawn": {func(b *balancer) { b.onFeed(gone(all[:6], all[6:9])) }, 0, 6},
		"known to be withdrawn later": {func(b *balancer) {
			b.onFeed(gone(all[:2], nil))
			time.Sleep(time.Second)
			b.onFeed(gone(all[:2], all[2:]))
		}, 0, 2},
		"registered again, and lost": {func(b *balancer) {
			b.onFeed(gone(all[:2], all[2:]))
			time.Sleep(time.Second)
			b.onFeed(gone(all, nil))
			time.Sleep(time.Minute)
			b.onFeed(gone(all[:2], nil))
		}, 8, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				b.listHeld(all...)
				time.Sleep(time.Minute)
				tt.then(b)
				time.Sleep(2 * applyEvery)
				synctest.Wait()
				if held, left := b.inState("held"), b.inState("held")+b.inState("READY"); held != tt.held || left != tt.left {
					t.Errorf("%d are held of %d in use, expected %d of %d: %s", held, left, tt.held, tt.left, b.states())
				}
				checkBooks(t, b)
			})
		})
	}
}
