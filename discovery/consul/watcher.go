package consul

import (
	"context"
	"fmt"
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

// query asks for the instances of the service. It blocks until there is something newer than index.
type query func(ctx context.Context, index uint64) ([]*api.ServiceEntry, *api.QueryMeta, error)

// watcher follows a service. It is used for one run.
type watcher struct {
	query query
	state discovery.State
	// index is the one that the next query waits for. 0: it does not wait.
	index   uint64
	backoff discovery.Backoff
}

// run asks again and again until ctx is done. After an error it waits, with backoff from 1 s to
// 30 s.
func (w *watcher) run(ctx context.Context, publish func(discovery.State)) {
	for {
		asked := time.Now()
		err := w.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		publish(w.state)
		wait := minInterval - time.Since(asked)
		if err != nil {
			wait = w.backoff.Next()
		} else {
			w.backoff.Reset()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// poll asks once. An error keeps the last list.
func (w *watcher) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitTime+waitTime/16+answerTime)
	defer cancel()
	entries, meta, err := w.query(ctx, w.index)
	if err != nil {
		w.index = 0 // The next answer should come at once, to show that all is well.
		w.state.Err = fmt.Errorf("asking Consul for the instances: %w", err)
		return w.state.Err
	}
	switch {
	case meta.LastIndex < w.index:
		// Consul was restored from a backup, or a new cluster has taken its place.
		w.index = 0
	default:
		w.index = max(meta.LastIndex, 1) // 0 would not block
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
