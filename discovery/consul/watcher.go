package consul

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
)

const (
	// waitTime is how long Consul may hold a query while nothing changes. It adds a sixteenth of it
	// at random.
	waitTime = time.Minute
	// answerTime is how much longer than waitTime the answer may take.
	answerTime = 15 * time.Second
	// minInterval is the minimum time between two queries. Consul answers a blocking query whenever
	// something near the service changes, which may be often.
	minInterval = 200 * time.Millisecond
)

// poller asks Consul by blocking queries, one after the other. It keeps the rules for them. An
// index that goes back is forgotten. An index is never 0 after an answer. Queries do not follow
// each other too closely.
type poller struct {
	// index is the one that the next query waits for. 0: it does not wait.
	index   uint64
	backoff discovery.Backoff
}

// ask asks once. Consul may hold the query for wait. After an error the next answer should come at
// once, to show that all is well.
func (p *poller) ask(
	ctx context.Context, wait time.Duration, query func(ctx context.Context, index uint64) (*api.QueryMeta, error),
) (*api.QueryMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+answerTime)
	defer cancel()
	meta, err := query(ctx, p.index)
	switch {
	case err != nil:
		p.index = 0
		return nil, err
	case meta.LastIndex < p.index:
		// Consul was restored from a backup, or a new cluster has taken its place.
		p.index = 0
	default:
		p.index = max(meta.LastIndex, 1) // 0 would not block
	}
	p.backoff.Reset()
	return meta, nil
}

// rest waits until the next query may be made: after an error with backoff from 1 s to 30 s. While
// nobody listens it is always 1 s, because an attempt costs nobody anything, and an agent that
// restarts is used soon. It ends early when again is closed.
func (p *poller) rest(ctx context.Context, asked time.Time, err error, again <-chan struct{}) {
	wait := minInterval - time.Since(asked)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			p.backoff.Reset()
		}
		wait = p.backoff.Next()
	}
	select {
	case <-ctx.Done():
	case <-again:
	case <-time.After(wait):
	}
}

// query asks for the instances of the service. It blocks until there is something newer than index.
type query func(ctx context.Context, index uint64) ([]*api.ServiceEntry, *api.QueryMeta, error)

// watcher follows a service. It is used for one run.
type watcher struct {
	query  query
	state  discovery.State
	poller poller
}

// run asks again and again until ctx is done.
func (w *watcher) run(ctx context.Context, publish func(discovery.State)) {
	for {
		asked := time.Now()
		err := w.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		publish(w.state)
		if w.poller.rest(ctx, asked, err, nil); ctx.Err() != nil {
			return
		}
	}
}

// poll asks once. An error keeps the last list.
func (w *watcher) poll(ctx context.Context) error {
	var entries []*api.ServiceEntry
	meta, err := w.poller.ask(ctx, waitTime, func(ctx context.Context, index uint64) (meta *api.QueryMeta, err error) {
		entries, meta, err = w.query(ctx, index)
		return meta, err
	})
	if err != nil {
		w.state.Err = fmt.Errorf("asking Consul for the instances: %w", err)
		return w.state.Err
	}
	l := convert(entries)
	w.state.Err = nil
	w.state.Synced = true
	w.state.Endpoints, w.state.Skipped, w.state.Withdrawn = l.endpoints, l.skipped, l.withdrawn
	w.state.Revision = int64(meta.LastIndex) // An index of raft.
	w.state.LastContact = time.Now()
	w.state.Stale = !meta.KnownLeader
	return nil
}
