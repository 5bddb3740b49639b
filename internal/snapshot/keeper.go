package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

const (
	// settleTime is how long a list must stay the same until it is saved. A rolling restart is then
	// not saved at each step.
	settleTime = time.Second
	// saveEvery is the least time between two writes of changed lists.
	saveEvery = 5 * time.Second
	// refreshEvery is how often an unchanged list is written again, so that its age stays true.
	refreshEvery = time.Hour
	// shrunkFor is how long the registry must say without a break that most instances are gone
	// until the file says so too.
	shrunkFor = time.Minute
	// lookAgain is the longest pause: snapshots may be wanted meanwhile, and writing may work
	// again.
	lookAgain = time.Minute
)

// keeper writes the lists of a source to disk in its own goroutine, run.
type keeper struct {
	path   string
	source string
	wanted func() bool
	log    *zap.Logger
	wake   chan struct{} // capacity 1

	mu      sync.Mutex
	good    discovery.State // the last one that the registry vouched for
	goodAt  time.Time       // when good was told; zero: never
	healthy bool            // the last state of all was such a one

	// The rest is run's own.
	disk     *list // what the file says; nil: nothing
	read     bool
	settled  time.Time // from when on the present list may be saved
	shrunkAt time.Time // since when most of what is on disk is gone; zero: it is not
	seen     []discovery.Endpoint
	written  time.Time
	failure  string // of the last attempt to write
}

func newKeeper(path, source string, wanted func() bool, log *zap.Logger) *keeper {
	return &keeper{path: path, source: source, wanted: wanted, log: log, wake: make(chan struct{}, 1)}
}

// vouched reports whether a state is what the registry says at present.
func vouched(s *discovery.State) bool { return s.Synced && !s.Stale && s.Err == nil }

// note takes a state. It never waits for the disk.
func (k *keeper) note(s *discovery.State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.healthy = vouched(s); k.healthy {
		k.good, k.goodAt = *s, time.Now()
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run saves lists until ctx is done, and then what is not saved yet.
func (k *keeper) run(ctx context.Context) {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.step(true)
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Reset(min(k.step(false), lookAgain))
	}
}

// step does what is due, and returns the time until the next step. The last step does not wait for
// a list to settle.
func (k *keeper) step(last bool) time.Duration {
	now := time.Now()
	k.mu.Lock()
	l := &list{saved: k.goodAt, revision: k.good.Revision, endpoints: k.good.Endpoints}
	healthy := k.healthy
	k.mu.Unlock()
	if l.saved.IsZero() || !k.wanted() {
		return lookAgain
	}
	if healthy {
		l.saved = now
	}
	k.look(now)
	if !sameEndpoints(k.seen, l.endpoints) {
		k.seen, k.settled = l.endpoints, now.Add(settleTime)
	}
	wait, due := k.due(now, l.endpoints, healthy)
	if atEnd := last && due; wait > 0 && !atEnd {
		return wait
	}
	k.write(now, l)
	return saveEvery
}

// look reads once what an earlier process has left on disk. A list that has lost most of that is
// doubted like a list that loses most of its instances while it is watched.
func (k *keeper) look(now time.Time) {
	if k.read {
		return
	}
	k.read = true
	sweep(filepath.Dir(k.path), now)
	if l, err := load(k.path, k.source, now); err == nil {
		k.disk, k.written = l, l.saved
	}
}

// due returns how long to wait until the endpoints are written. atEnd says whether to write them if
// the process ends before. It is false if the file has them already, and while they are doubted.
func (k *keeper) due(now time.Time, endpoints []discovery.Endpoint, healthy bool) (wait time.Duration, atEnd bool) {
	if k.disk == nil && len(endpoints) == 0 {
		k.shrunkAt = time.Time{}
		return lookAgain, false
	}
	if k.disk != nil && sameEndpoints(k.disk.endpoints, endpoints) {
		k.shrunkAt = time.Time{}
		if !healthy {
			return lookAgain, false
		}
		return k.written.Add(refreshEvery).Sub(now), false
	}
	if !k.shrunk(endpoints) {
		k.shrunkAt = time.Time{}
		return max(k.settled.Sub(now), k.written.Add(saveEvery).Sub(now)), true
	}
	switch {
	case !healthy: // The time begins again: it must pass without trouble.
		k.shrunkAt = time.Time{}
		return lookAgain, false
	case k.shrunkAt.IsZero():
		k.shrunkAt = now
	}
	return k.shrunkAt.Add(shrunkFor).Sub(now), false
}

// shrunk reports whether the endpoints are so few that a fault is as likely as a decision: none of
// some, or less than half of four or more.
func (k *keeper) shrunk(endpoints []discovery.Endpoint) bool {
	if k.disk == nil {
		return false
	}
	before := len(k.disk.endpoints)
	return len(endpoints) == 0 || before >= 4 && 2*len(endpoints) < before
}

// write writes the list to the file. An empty list removes the file.
func (k *keeper) write(now time.Time, l *list) {
	var err error
	if len(l.endpoints) == 0 {
		l = nil
		if err = os.Remove(k.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = save(k.path, k.source, l)
	}
	k.written, k.shrunkAt = now, time.Time{}
	if err != nil {
		level := zap.WarnLevel
		if k.failure == err.Error() {
			level = zap.DebugLevel // the same at each try
		}
		k.log.Log(level, "cannot save the snapshot of instances; a start without the registry would not have it", zap.Error(err))
		k.failure = err.Error()
		return
	}
	k.disk, k.failure = l, ""
}
