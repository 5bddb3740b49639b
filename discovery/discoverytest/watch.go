package discoverytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// watch watches a source and checks what every state and every watch must satisfy.
type watch struct {
	subject  *Subject
	source   discovery.Source
	registry Registry
	ctx      context.Context //nolint:containedctx // It is that of the one watch.
	cancel   context.CancelFunc
	done     chan struct{} // closed when Watch has returned; nil before start
	before   map[string]int

	mu      sync.Mutex
	states  []discovery.State
	copies  []discovery.State // deep copies of states, from when they were published
	arrived chan struct{}     // closed and replaced at each state
	inside  int               // calls of publish that are running
	fault   error             // the first thing that is wrong with what was published
	over    bool              // Watch has returned
	stopped bool              // stop has been called
}

func newWatch(s *Subject, source discovery.Source, registry Registry) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	return &watch{
		subject: s, source: source, registry: registry, ctx: ctx, cancel: cancel, arrived: make(chan struct{}), before: goroutines(),
	}
}

// start begins to watch.
func (w *watch) start() {
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		defer func() {
			if v := recover(); v != nil {
				w.note(fmt.Errorf("Watch panicked: %v", v))
			}
			w.mu.Lock()
			w.over = true
			w.mu.Unlock()
		}()
		w.source.Watch(w.ctx, w.publish)
		if w.ctx.Err() == nil {
			w.note(errors.New("Watch returned before its context was done: it must publish errors and try again"))
		}
	}()
}

func (w *watch) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil {
		w.fault = err
	}
}

// publish takes a state from the source.
func (w *watch) publish(s discovery.State) {
	w.mu.Lock()
	w.inside++
	alone, over := w.inside == 1, w.over
	w.mu.Unlock()
	if !alone {
		w.note(errors.New("publish was called while another call of it was running: one goroutine at a time must publish"))
	}
	if over {
		w.note(errors.New("publish was called after Watch had returned"))
	}
	runtime.Gosched() // so that another call can come
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside--
	var last discovery.State
	if n := len(w.states); n > 0 {
		last = w.states[n-1]
	}
	if err := w.valid(&last, &s); err != nil && w.fault == nil {
		w.fault = err
	}
	w.states, w.copies = append(w.states, s), append(w.copies, deepCopy(&s))
	close(w.arrived)
	w.arrived = make(chan struct{})
}

// valid checks what holds for every state.
func (w *watch) valid(last, s *discovery.State) error {
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		switch {
		case e.ID == "":
			return fmt.Errorf("endpoint %s has no ID", e.Addr)
		case i > 0 && s.Endpoints[i-1].ID == e.ID:
			return fmt.Errorf("two endpoints have the ID %q", e.ID)
		case i > 0 && s.Endpoints[i-1].ID > e.ID:
			return fmt.Errorf("endpoints are not sorted by ID: %q comes after %q", e.ID, s.Endpoints[i-1].ID)
		}
		if err := discovery.CheckAddr(e.Addr); err != nil {
			return fmt.Errorf("endpoint %q: %w; it belongs into Skipped", e.ID, err)
		}
		if w.subject.Catalog {
			if err := discovery.CheckService(e.Service); err != nil {
				return fmt.Errorf("endpoint %q of a catalog: %w", e.ID, err)
			}
		} else if e.Service != "" {
			return fmt.Errorf("endpoint %q has the service %q, and the source is not a catalog", e.ID, e.Service)
		}
	}
	for _, skipped := range s.Skipped {
		if skipped.Reason == "" {
			return fmt.Errorf("entry %q was skipped without a reason", skipped.ID)
		}
	}
	switch {
	case !s.Snapshot.IsZero():
		return errors.New("the source sets Snapshot, which is the gateway's")
	case !s.Synced && len(s.Endpoints) > 0:
		return errors.New("there are endpoints, and Synced is false")
	case s.Synced && s.Err == nil && s.LastContact.IsZero() && !w.subject.Fixed:
		return errors.New("LastContact is zero, and the registry has answered")
	case last.Synced && !s.Synced:
		return errors.New("a later state is not Synced: a list that was known must stay")
	case s.Err != nil && last.Synced && !sameEndpoints(last.Endpoints, s.Endpoints):
		return fmt.Errorf("the list changed from %d to %d endpoints with an error: the last good list must stay", len(last.Endpoints), len(s.Endpoints))
	}
	return nil
}

// await waits for a state that satisfies the condition.
func (w *watch) await(what string, condition func(s *discovery.State) bool) error {
	timeout := time.NewTimer(w.subject.Patience)
	defer timeout.Stop()
	for {
		w.mu.Lock()
		arrived, fault, over := w.arrived, w.fault, w.over
		var last discovery.State
		if n := len(w.states); n > 0 {
			last = w.states[n-1]
		}
		ok := len(w.states) > 0 && condition(&last)
		w.mu.Unlock()
		switch {
		case fault != nil:
			return fault
		case ok:
			return nil
		case over:
			return fmt.Errorf("Watch returned without %s", what)
		}
		select {
		case <-arrived:
		case <-w.done:
		case <-timeout.C:
			return fmt.Errorf("%v have passed without %s; the last state has %d endpoints, Synced %v, Err %w",
				w.subject.Patience, what, len(last.Endpoints), last.Synced, last.Err)
		}
	}
}

// stop ends the watch, if it was started, and checks how it ends.
func (w *watch) stop() error {
	w.mu.Lock()
	again := w.stopped
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
	if w.done == nil || again {
		return nil
	}
	select {
	case <-w.done:
	case <-time.After(w.subject.Patience):
		return fmt.Errorf("Watch has not returned %v after its context was done", w.subject.Patience)
	}
	time.Sleep(w.subject.Quiet) // for a late call of publish
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return w.fault
	}
	for i := range w.states {
		if !sameState(&w.states[i], &w.copies[i]) {
			return errors.New("a list was written to after it was published: make new slices and maps")
		}
	}
	return w.leaks()
}

// leaks returns an error if there are goroutines that were not there before.
func (w *watch) leaks() error {
	var stack string
	for deadline := time.Now().Add(min(w.subject.Patience, 5*time.Second)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if stack = newGoroutine(w.before); stack == "" {
			return nil
		}
	}
	return fmt.Errorf("a goroutine is left over after Watch has returned:\n%s", stack)
}

// goroutines counts the goroutines by where they were created.
func goroutines() map[string]int {
	counts := make(map[string]int)
	for _, stack := range stacks() {
		counts[creator(stack)]++
	}
	return counts
}

// newGoroutine returns the stack of a goroutine of which there are more than before.
func newGoroutine(before map[string]int) string {
	counts := make(map[string]int)
	for _, stack := range stacks() {
		by := creator(stack)
		if counts[by]++; counts[by] > before[by] {
			return stack
		}
	}
	return ""
}

// stacks returns the stacks of all goroutines but this one.
func stacks() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(string(buf[:n]), "\n\n")[1:]
		}
		buf = make([]byte, 2*len(buf))
	}
}

// creator returns what a stack says of who started the goroutine.
func creator(stack string) string {
	_, by, ok := strings.Cut(stack, "\ncreated by ")
	if !ok {
		return "main"
	}
	by, _, _ = strings.Cut(by, " in goroutine")
	return by
}

func deepCopy(s *discovery.State) discovery.State {
	out := *s
	out.Endpoints, out.Withdrawn, out.Skipped = copyOf(s.Endpoints), copyOf(s.Withdrawn), slices.Clone(s.Skipped)
	return out
}

func copyOf(list []discovery.Endpoint) []discovery.Endpoint {
	list = slices.Clone(list)
	for i := range list {
		list[i].Metadata = maps.Clone(list[i].Metadata)
	}
	return list
}

func sameState(a, b *discovery.State) bool {
	return sameEndpoints(a.Endpoints, b.Endpoints) && sameEndpoints(a.Withdrawn, b.Withdrawn) && slices.Equal(a.Skipped, b.Skipped)
}

func sameEndpoints(a, b []discovery.Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b discovery.Endpoint) bool {
		x, y := a, b
		x.Metadata, y.Metadata = nil, nil
		return fmt.Sprint(x) == fmt.Sprint(y) && maps.Equal(a.Metadata, b.Metadata)
	})
}
