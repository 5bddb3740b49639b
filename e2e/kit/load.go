package kit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// H2C returns a client that speaks HTTP/2 without TLS.
func H2C() *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

// H1 returns a client that speaks HTTP/1.1 on connections of its own.
func H1() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 60 * time.Second}
}

// Result is one request of a load.
type Result struct {
	ID      string
	Status  int // 0 when no answer came
	Err     error
	Start   time.Time
	Latency time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("%s at %s after %v: status %d, %v", r.ID, r.Start.Format("15:04:05.000"), r.Latency, r.Status, r.Err)
}

// Load is an open-loop load: requests start at a fixed rate, whatever the answers do.
type Load struct {
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	started map[string]time.Time // of the requests without an answer, by ID
	results []Result
}

// Request makes the request of an id.
type Request func(ctx context.Context, id string) (*http.Request, error)

// StartLoad starts rate requests a second, each with an id of its own, until Stop (or 12 hours, at
// most). check looks at the body of a 200 answer.
func StartLoad(client *http.Client, rate int, request Request, check func(id string, body []byte) error) *Load {
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Hour)
	load := &Load{cancel: cancel, done: make(chan struct{}), started: map[string]time.Time{}}
	go func() {
		defer close(load.done)
		var inFlight sync.WaitGroup
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				inFlight.Wait()
				return
			case <-ticker.C:
			}
			id := fmt.Sprintf("r%06d", n)
			inFlight.Go(func() { load.one(client, request, check, id) })
		}
	}()
	return load
}

func (l *Load) one(client *http.Client, request Request, check func(string, []byte) error, id string) {
	result := Result{ID: id, Start: time.Now()}
	l.mu.Lock()
	l.started[id] = result.Start
	l.mu.Unlock()
	defer func() {
		result.Latency = time.Since(result.Start)
		l.mu.Lock()
		delete(l.started, id)
		l.results = append(l.results, result)
		l.mu.Unlock()
	}()
	// The context is not the load's: a request that has started is always let finish.
	req, err := request(context.Background(), id)
	if err != nil {
		result.Err = err
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		result.Err = err
		return
	}
	defer resp.Body.Close()
	result.Status = resp.StatusCode
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		result.Err = err
	case resp.StatusCode != http.StatusOK:
		result.Err = fmt.Errorf("%s", bytes.TrimSpace(body))
	case check != nil:
		result.Err = check(id, body)
	}
}

// Waiting returns the IDs of the requests that began at least age ago and have no answer.
func (l *Load) Waiting(age time.Duration) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id, start := range l.started {
		if time.Since(start) >= age {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Stop ends the load, waits for the requests in flight, and returns all results in the order of
// their start.
func (l *Load) Stop() []Result {
	l.cancel()
	<-l.done
	slices.SortFunc(l.results, func(a, b Result) int { return a.Start.Compare(b.Start) })
	return l.results
}

// Failures returns those that failed.
func Failures(results []Result) []Result {
	var failed []Result
	for _, result := range results {
		if result.Err != nil || result.Status != http.StatusOK {
			failed = append(failed, result)
		}
	}
	return failed
}

// NoFailures fails the test when a request of the load failed, or when there was hardly any.
func NoFailures(t testing.TB, results []Result, atLeast int) {
	t.Helper()
	if len(results) < atLeast {
		t.Errorf("the load made %d requests; a test with fewer than %d shows nothing", len(results), atLeast)
	}
	failed := Failures(results)
	var lines []string
	for _, result := range failed[:min(len(failed), 10)] {
		lines = append(lines, result.String())
	}
	if len(failed) > 0 {
		t.Errorf("%d of %d requests failed:\n%s", len(failed), len(results), strings.Join(lines, "\n"))
	}
	t.Logf("%d requests, %d failed", len(results), len(failed))
}

// GetJSON makes a GET and returns status and body.
func GetJSON(client *http.Client, url string) (int, string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}
