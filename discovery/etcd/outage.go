package etcd

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/discovery"
)

// tellAt says how long an outage has lasted when the log tells of it. The first line waits a
// moment, so that it can count the watches that the outage affects.
var tellAt = [...]time.Duration{time.Second, time.Minute}

// deniedEvery is the time between two lines about services that etcd denies, if there are more of
// them.
const deniedEvery = 10 * time.Minute

// trouble is what is wrong with one watch.
type trouble struct {
	prefix    string
	err       error
	instances int // that stay in use
}

// outages logs trouble with a cluster. All watches of the cluster report to it, so that one dead
// etcd is a few lines in the log and not a few lines for every service. What etcd denies to this
// gateway counts as an outage of its own: it may last, and must not hide that etcd is down.
type outages struct {
	log *zap.Logger

	mu          sync.Mutex
	unavailable outage
	denied      outage
}

// outage lasts from the first watch in trouble until no watch is in trouble. outages.mu guards it.
type outage struct {
	watches map[*watcher]trouble
	since   time.Time
	next    *time.Timer
	lines   int  // logged so far
	wider   bool // more watches are affected than the last line says
}

func newOutages(log *zap.Logger) *outages { return &outages{log: log} }

// begin notes that a watch is in trouble. It may be called again for the same watch.
func (o *outages) begin(w *watcher, t trouble) {
	o.mu.Lock()
	defer o.mu.Unlock()
	present, other := &o.unavailable, &o.denied
	if isDenied(t.err) {
		present, other = other, present
	}
	o.leave(other, w)
	if len(present.watches) == 0 {
		*present = outage{watches: make(map[*watcher]trouble), since: time.Now()}
	}
	if _, known := present.watches[w]; !known && present.lines > 0 {
		present.wider = true
	}
	present.watches[w] = t
	if present.next == nil && (present.lines < len(tellAt) || present == &o.denied && present.wider) {
		o.schedule(present)
	}
}

// schedule sets the timer for the next line. Caller must hold o.mu, which guards the variable timer
// as well: a timer that is due at once could be read before it is set.
func (o *outages) schedule(present *outage) {
	wait := deniedEvery
	if present.lines < len(tellAt) {
		wait = time.Until(present.since.Add(tellAt[present.lines]))
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() { o.tell(present, &timer) })
	present.next = timer
}

// end notes that a watch works. The log says so when it is the last one of an outage that was
// logged.
func (o *outages) end(w *watcher, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, present := range []*outage{&o.unavailable, &o.denied} {
		since, told := present.since, present.lines > 0
		if o.leave(present, w) && told {
			o.log.Info("etcd is back", zap.Duration("after", time.Since(since)), zap.Int64("revision", revision))
		}
	}
}

// forget drops a watch that has ended.
func (o *outages) forget(w *watcher) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leave(&o.unavailable, w)
	o.leave(&o.denied, w)
}

// leave takes a watch out of an outage and reports whether that ends the outage. Caller must hold
// o.mu.
func (o *outages) leave(present *outage, w *watcher) (over bool) {
	if _, ok := present.watches[w]; !ok {
		return false
	}
	delete(present.watches, w)
	if len(present.watches) > 0 {
		return false
	}
	if present.next != nil {
		present.next.Stop()
	}
	*present = outage{}
	return true
}

// tell logs a line.
func (o *outages) tell(present *outage, timer **time.Timer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if present.next != *timer {
		return // The outage is over.
	}
	present.next = nil
	if present == &o.denied && present.lines > 0 && !present.wider {
		return
	}
	present.lines++
	present.wider = false
	o.log.Warn("trouble with etcd; the last known instances stay in use", present.fields()...)
	if present == &o.unavailable && present.lines < len(tellAt) {
		o.schedule(present)
	}
}

// fields describes an outage: how many services it affects, some of them, and the error of the
// first.
func (present *outage) fields() []zap.Field {
	const examples = 5
	all := slices.SortedFunc(maps.Values(present.watches), func(a, b trouble) int { return cmp.Compare(a.prefix, b.prefix) })
	instances := 0
	prefixes := make([]string, 0, examples)
	for _, t := range all {
		instances += t.instances
		if len(prefixes) < examples {
			prefixes = append(prefixes, discovery.Printable(t.prefix))
		}
	}
	return []zap.Field{
		zap.String("error", discovery.Printable(all[0].err.Error())),
		zap.Int("services", len(all)),
		zap.Strings("prefixes", prefixes),
		zap.Int("instances", instances),
		zap.Duration("lasting", time.Since(present.since)),
	}
}

// isDenied reports whether etcd answers but does not let this gateway in.
func isDenied(err error) bool {
	var unreachable *unreachableError
	if errors.As(err, &unreachable) {
		return false
	}
	return isAuthError(err) || code(err) == codes.PermissionDenied || code(err) == codes.InvalidArgument
}
