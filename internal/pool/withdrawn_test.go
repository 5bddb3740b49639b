package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// Instances that somebody has taken out of the registry on purpose are not held, however many they
// are.
func TestWithdrawnInstancesAreNotHeld(t *testing.T) {
	all := hosts(10)
	gone := func(listed, withdrawn []string) discovery.State {
		s := holding60(listed...)
		s.Withdrawn = instances(withdrawn...)
		return s
	}
	for name, tt := range map[string]struct {
		then func(f *fleet)
		held int
		left int
	}{
		"lost":                       {func(f *fleet) { f.onFeed(gone(all[:2], nil)) }, 8, 10},
		"withdrawn":                  {func(f *fleet) { f.onFeed(gone(all[:2], all[2:])) }, 0, 2},
		"the last one withdrawn":     {func(f *fleet) { f.onFeed(gone(nil, all)) }, 0, 0},
		"some lost, some withdrawn":  {func(f *fleet) { f.onFeed(gone(nil, all[:3])) }, 7, 7},
		"a few lost, most withdrawn": {func(f *fleet) { f.onFeed(gone(all[:6], all[6:9])) }, 0, 6},
		"known to be withdrawn later": {func(f *fleet) {
			f.onFeed(gone(all[:2], nil))
			time.Sleep(time.Second)
			f.onFeed(gone(all[:2], all[2:]))
		}, 0, 2},
		"registered again, and lost": {func(f *fleet) {
			f.onFeed(gone(all[:2], all[2:]))
			time.Sleep(time.Second)
			f.onFeed(gone(all, nil))
			time.Sleep(time.Minute)
			f.onFeed(gone(all[:2], nil))
		}, 8, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, g := startFleet(t, Settings{})
				g.open = true
				f.listHeld(all...)
				time.Sleep(time.Minute)
				tt.then(f)
				time.Sleep(2 * applyEvery)
				synctest.Wait()
				if held, left := f.inState("held"), f.inState("held")+f.inState("READY"); held != tt.held || left != tt.left {
					t.Errorf("%d are held of %d in use, expected %d of %d: %s", held, left, tt.held, tt.left, f.states())
				}
				checkBooks(t, f)
			})
		})
	}
}
