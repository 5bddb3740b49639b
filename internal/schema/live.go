package schema

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// LiveOptions say how a Live keeps its schema current. The zero value of a field means its default.
type LiveOptions struct {
	// Refresh is the time after which the schema is read again without a cause, give or take a
	// tenth. Default: never.
	Refresh time.Duration
	// MinInterval is the minimum time between the starts of two loads, if a trigger or a change
	// asked for the second. Default: 1s. While no schema is in force, it is BackoffBase at most.
	MinInterval time.Duration
	// BackoffBase is how long to wait after a failed load. The wait doubles with each further
	// failure, up to BackoffMax. Default: 200ms and 10s.
	BackoffBase, BackoffMax time.Duration
	// OnReload is called after each load, for metrics. It must not block.
	OnReload func(Result)
	// OnChange is called with each schema that takes the place of another. It must not block.
	OnChange func(before, now *Schema)
	// Early reports whether an error only says that there is no instance to read the schema from.
	// Such errors are logged at DEBUG, because whatever keeps the service away has a log line of
	// its own. Default: no error is.
	Early func(error) bool
	// Log gets changes at INFO and new failures at WARN. Default: no log.
	Log *zap.Logger
}

// Result is the result of a load.
type Result string

// The results of a load.
const (
	Changed   Result = "changed"   // the new schema is in force
	Unchanged Result = "unchanged" // it has the fingerprint of the one in force, which stays
	Failed    Result = "failed"    // the schema in force stays
)

// Live keeps a schema current. It loads in the background: at once, on every change that the loader
// sees, on Trigger, and at intervals. After a failure it tries again with backoff until it
// succeeds. A new schema that is broken never replaces a good one. Safe for concurrent use.
type Live struct {
	loader Loader
	opts   LiveOptions
	log    *zap.Logger

	current atomic.Pointer[Schema]
	// ready is closed when the first schema is in force.
	ready chan struct{}
	// trigger holds one trigger.
	trigger chan struct{}
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	// notify is held while subscribers are called, so that each sees every schema once, in order.
	// It is taken before mu.
	notify      sync.Mutex
	subscribers map[*func(*Schema)]struct{}

	mu     sync.Mutex
	status Status
	// warned reports whether the current error was logged at WARN.
	warned bool
}

// NewLive starts to load at once, in the background. The caller must close it.
func NewLive(loader Loader, opts LiveOptions) *Live {
	orDefault(&opts.MinInterval, time.Second)
	orDefault(&opts.BackoffBase, 200*time.Millisecond)
	orDefault(&opts.BackoffMax, 10*time.Second)
	log := opts.Log
	if log == nil {
		log = zap.NewNop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Live{
		loader: loader, opts: opts, log: log, cancel: cancel,
		ready: make(chan struct{}), trigger: make(chan struct{}, 1),
		subscribers: map[*func(*Schema)]struct{}{},
		status:      Status{Services: []string{}, Reloads: map[Result]uint64{}},
	}
	l.wg.Go(func() { l.run(ctx) })
	l.wg.Go(func() { loader.Watch(ctx, l.Trigger) })
	return l
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Close stops loading and watching, and waits for both. No subscriber is called afterwards. The
// schema stays readable.
func (l *Live) Close() {
	l.cancel()
	l.wg.Wait()
}

// Current returns the schema in force, or nil before the first one is loaded.
func (l *Live) Current() *Schema { return l.current.Load() }

// Trigger asks for a reload. It never blocks. Triggers that come while one is pending count as one,
// and loads are at least MinInterval apart. A load begins after the last trigger. A trigger also
// ends the wait after a failure.
func (l *Live) Trigger() {
	select {
	case l.trigger <- struct{}{}:
	default:
	}
}

// Wait waits until a schema is in force. If ctx is done before, the error says why there is none.
func (l *Live) Wait(ctx context.Context) error {
	select {
	case <-l.ready:
		return nil
	case <-ctx.Done():
	}
	cause := l.Status().Err
	if cause == nil {
		cause = errors.New("it has not been read yet")
	}
	return fmt.Errorf("no schema: %w (%w)", cause, context.Cause(ctx))
}

// Subscribe calls fn with the schema in force, if there is one, and with each later one, one at a
// time and in order. While fn runs, other subscribers and the next load wait. cancel waits for a
// running fn. fn must not call Subscribe or cancel.
func (l *Live) Subscribe(fn func(*Schema)) (cancel func()) {
	l.notify.Lock()
	defer l.notify.Unlock()
	key := &fn
	l.subscribers[key] = struct{}{}
	if s := l.current.Load(); s != nil {
		fn(s)
	}
	return func() {
		l.notify.Lock()
		defer l.notify.Unlock()
		delete(l.subscribers, key)
	}
}

// run is the only goroutine that loads.
func (l *Live) run(ctx context.Context) {
	failures := 0
	for {
		started := time.Now()
		ok := l.reload(ctx)
		if ok {
			failures = 0
		} else {
			failures++
		}
		triggered, alive := l.await(ctx, l.pause(failures))
		if !alive {
			return
		}
		if triggered {
			// Earlier failures say nothing about the load that was asked for.
			failures = 0
			if !sleep(ctx, l.spacing()-time.Since(started)) {
				return
			}
			l.drain()
		}
	}
}

// spacing is the minimum time between loads. It is shorter before the first success: until then
// calls fail because there is no schema, and the trigger is an instance that has become ready.
func (l *Live) spacing() time.Duration {
	if l.current.Load() == nil {
		return min(l.opts.MinInterval, l.opts.BackoffBase)
	}
	return l.opts.MinInterval
}

// pause is how long to wait for the next load without a trigger. 0 is forever.
func (l *Live) pause(failures int) time.Duration {
	if failures == 0 {
		return jitter(l.opts.Refresh, 0.1)
	}
	d := l.opts.BackoffBase
	for i := 1; i < failures && d < l.opts.BackoffMax; i++ {
		d *= 2
	}
	return jitter(min(d, l.opts.BackoffMax), 0.2)
}

// await waits for d or for a trigger, whichever comes first.
func (l *Live) await(ctx context.Context, d time.Duration) (triggered, alive bool) {
	var elapsed <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		elapsed = t.C
	}
	select {
	case <-elapsed:
		return false, ctx.Err() == nil
	case <-l.trigger:
		return true, ctx.Err() == nil
	case <-ctx.Done():
		return false, false
	}
}

// drain drops a trigger, because the load that is about to begin comes after it.
func (l *Live) drain() {
	select {
	case <-l.trigger:
	default:
	}
}

// reload loads once and reports whether that went well.
func (l *Live) reload(ctx context.Context) bool {
	s, err := l.load(ctx)
	if ctx.Err() != nil {
		return false // Close has ended the load, so its result says nothing.
	}
	result := Failed
	if err == nil {
		result = Changed
		if old := l.current.Load(); old != nil && old.Fingerprint() == s.Fingerprint() {
			result = Unchanged
		}
	}
	// The status comes first, so that subscribers and callers of Wait find the schema in it.
	l.record(result, s, err)
	if result == Changed {
		l.publish(s)
	}
	if l.opts.OnReload != nil {
		l.opts.OnReload(result)
	}
	return err == nil
}

// load guards against panics. Descriptors come from other processes, and the libraries that link
// them are written for those of compilers.
func (l *Live) load(ctx context.Context) (s *Schema, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("reading the schema panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			s, err = nil, fmt.Errorf("read the schema: panic: %v", p)
		}
	}()
	s, err = l.loader.Load(ctx)
	if err == nil && s == nil {
		err = errors.New("read the schema: the loader returned none")
	}
	return s, err
}

func (l *Live) publish(s *Schema) {
	l.notify.Lock()
	defer l.notify.Unlock()
	before := l.current.Swap(s)
	switch {
	case before == nil:
		close(l.ready)
	case l.opts.OnChange != nil:
		l.opts.OnChange(before, s)
	}
	for fn := range l.subscribers {
		(*fn)(s)
	}
}

// jitter spreads d by the given share to both sides.
func jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*rand.Float64()-1))) //nolint:gosec // Only spreads load.
}

// sleep waits for d. It reports false if ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
