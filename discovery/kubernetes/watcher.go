package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/caddy-grpc/gateway/discovery"
)

// refusedPause is how long to wait after the API server has refused a connection.
const refusedPause = time.Second

// client is what is needed of the client of EndpointSlices in a namespace.
type client interface {
	List(ctx context.Context, opts metav1.ListOptions) (*discoveryv1.EndpointSliceList, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

// watcher follows the EndpointSlices of a service. It is used for one run. It is the store of a
// reflector, which is the part of an informer that lists, watches, and lists again when a watch has
// expired.
type watcher struct {
	client   client
	selector string
	port     string
	// convert makes the list: of one service, or of all.
	convert func(all []*discoveryv1.EndpointSlice, port string) list

	mu      sync.Mutex
	slices  map[string]*discoveryv1.EndpointSlice // by name
	state   discovery.State
	publish func(discovery.State) // nil after the run
}

// run follows the service until ctx is done.
func (w *watcher) run(ctx context.Context, publish func(discovery.State)) {
	w.publish = publish
	quiet := logr.Discard() // What goes wrong is in the state.
	ctx = klog.NewContext(ctx, quiet)
	reflector := cache.NewReflectorWithOptions(
		cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{ListWithContextFunc: w.list, WatchFuncWithContext: w.watch}, w.client),
		new(discoveryv1.EndpointSlice), w,
		cache.ReflectorOptions{
			Logger: &quiet, Name: "grpc_gateway",
			Backoff: &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 10 * time.Second},
		},
	)
	reflector.RunWithContext(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.publish = nil // A list in flight may end later.
}

func (w *watcher) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	opts.LabelSelector = w.selector
	found, err := persist(ctx, w, func() (*discoveryv1.EndpointSliceList, error) { return w.client.List(ctx, opts) })
	if err != nil {
		w.trouble(ctx, fmt.Errorf("listing EndpointSlices: %w", err))
		return nil, err
	}
	return found, nil
}

func (w *watcher) watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	opts.LabelSelector = w.selector
	started, err := persist(ctx, w, func() (watch.Interface, error) { return w.client.Watch(ctx, opts) })
	switch {
	case err == nil && opts.SendInitialEvents == nil:
		w.contact()
	case err != nil && opts.SendInitialEvents == nil:
		// An error with initial events is followed by a list: old servers do not have them.
		w.trouble(ctx, fmt.Errorf("watching EndpointSlices: %w", err))
	}
	return started, err
}

// persist asks the API server, and asks again each second while nobody listens there. An attempt
// costs nobody anything then, and a server that restarts is used soon. The reflector would wait for
// longer each time.
func persist[T any](ctx context.Context, w *watcher, ask func() (T, error)) (T, error) {
	for {
		answer, err := ask()
		if err == nil || !utilnet.IsConnectionRefused(err) || ctx.Err() != nil {
			return answer, err
		}
		w.trouble(ctx, fmt.Errorf("asking for EndpointSlices: %w", err))
		select {
		case <-ctx.Done():
		case <-time.After(discovery.Jitter(refusedPause, 0.2)):
		}
	}
}

// trouble publishes an error beside the last list.
func (w *watcher) trouble(ctx context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() == nil {
		w.state.Err = err
		w.send()
	}
}

// contact notes that the API server has answered.
func (w *watcher) contact() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.LastContact = time.Now()
	if w.state.Err != nil {
		w.state.Err = nil
		w.send()
	}
}

// Replace implements cache.ReflectorStore. It takes a complete list.
func (w *watcher) Replace(objects []any, version string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slices = make(map[string]*discoveryv1.EndpointSlice, len(objects))
	for _, o := range objects {
		if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
			w.slices[slice.Name] = slice
		}
	}
	w.state.Synced = true
	w.changed(version)
	return nil
}

// Add implements cache.ReflectorStore.
func (w *watcher) Add(o any) error {
	if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.slices == nil {
			w.slices = make(map[string]*discoveryv1.EndpointSlice)
		}
		w.slices[slice.Name] = slice
		w.changed(slice.ResourceVersion)
	}
	return nil
}

// Update implements cache.ReflectorStore.
func (w *watcher) Update(o any) error { return w.Add(o) }

// Delete implements cache.ReflectorStore.
func (w *watcher) Delete(o any) error {
	if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.slices, slice.Name)
		w.changed(slice.ResourceVersion)
	}
	return nil
}

// Resync implements cache.ReflectorStore. There is nothing to do.
func (*watcher) Resync() error { return nil }

// Bookmark implements cache.ReflectorBookmarkStore. It tells that nothing has changed.
func (w *watcher) Bookmark(string) error {
	w.contact()
	return nil
}

// changed publishes the list that the slices make.
//
// Caller must hold w.mu.
func (w *watcher) changed(version string) {
	l := w.convert(slices.Collect(maps.Values(w.slices)), w.port)
	w.state.Err = nil
	w.state.Endpoints, w.state.Skipped, w.state.Withdrawn = l.endpoints, l.skipped, l.withdrawn
	w.state.LastContact = time.Now()
	if n, err := strconv.ParseInt(version, 10, 64); err == nil {
		w.state.Revision = n
	}
	w.send()
}

// send publishes the state.
//
// Caller must hold w.mu.
func (w *watcher) send() {
	if w.publish != nil {
		w.publish(w.state)
	}
}
