// Package traffic is the load of the comparison: a number of connections, each making one request
// after the other until the time is up, every answer checked.
package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/raw"
)

// Cell is one measurement.
type Cell struct {
	Work        string
	Addr        string // of the gateway
	PID         int    // its process
	Debug       string // where it serves /debug/vars
	Connections int
	Duration    time.Duration
	// Filler says that the gateway writes as many bytes as the answer has, but not the answer.
	Filler bool
}

// Result is what a cell found.
type Result struct {
	Requests   int
	Wrong      int // answers, of those
	FirstWrong string
	Wall       time.Duration
	CPU        time.Duration // of the gateway
	P50, P99   time.Duration
	Allocs     uint64 // of the gateway
	AllocBytes uint64
	GCs        uint32
	LockWait   time.Duration // of all goroutines of the gateway together
	RSS        int64         // of the gateway, at the end, in bytes
}

const warmUp = 300 * time.Millisecond

// client makes requests on a connection of its own.
type client interface {
	do() (status int, body []byte, err error)
	close()
}

// Run does one measurement. Before it begins, connections are made and warmed by a request each, as
// far as that can be done within warmUp.
func Run(c Cell) (Result, error) {
	work, err := canned.Find(c.Work)
	if err != nil {
		return Result{}, err
	}
	j := &judge{work: work, filler: c.Filler}
	workers := make([]*worker, c.Connections)
	for i := range workers {
		cl, err := dial(work, c.Addr)
		if err != nil {
			return Result{}, err
		}
		defer cl.close()
		workers[i] = &worker{client: cl, judge: j}
	}
	start := time.Now()
	for some := range slices.Chunk(workers, 64) {
		each(some, func(w *worker) { w.run(1, time.Time{}) })
		if time.Since(start) > warmUp {
			break
		}
	}
	if n := j.wrong.Load(); n > 0 {
		return Result{}, fmt.Errorf("%d wrong answers while warming up: %s", n, *j.first.Load())
	}
	for _, w := range workers {
		w.latencies = w.latencies[:0]
	}
	return measure(c, j, workers)
}

func measure(c Cell, j *judge, workers []*worker) (res Result, err error) {
	before, err := readVars(c.Debug)
	if err != nil {
		return res, err
	}
	cpuBefore, err := CPU(c.PID)
	if err != nil {
		return res, err
	}
	start := time.Now()
	each(workers, func(w *worker) { w.run(0, start.Add(c.Duration)) })
	res.Wall = time.Since(start)
	cpuAfter, err := CPU(c.PID)
	if err != nil {
		return res, err
	}
	after, err := readVars(c.Debug)
	if err != nil {
		return res, err
	}
	res.CPU = cpuAfter - cpuBefore
	res.Allocs = after.Memory.Mallocs - before.Memory.Mallocs
	res.AllocBytes = after.Memory.TotalAlloc - before.Memory.TotalAlloc
	res.GCs = after.Memory.NumGC - before.Memory.NumGC
	res.LockWait = time.Duration((after.LockWait - before.LockWait) * float64(time.Second))
	if res.RSS, err = RSS(c.PID); err != nil {
		return res, err
	}
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.latencies...)
	}
	if len(all) == 0 {
		return res, errors.New("not one request was answered")
	}
	slices.Sort(all)
	res.Requests, res.P50, res.P99 = len(all), all[len(all)/2], all[len(all)*99/100]
	res.Wrong = int(j.wrong.Load())
	if first := j.first.Load(); first != nil {
		res.FirstWrong = *first
	}
	return res, nil
}

func each(workers []*worker, fn func(*worker)) {
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() { fn(w) })
	}
	wg.Wait()
}

// worker is one connection with its loop.
type worker struct {
	client    client
	judge     *judge
	latencies []time.Duration
}

// run makes n requests, or requests until a time.
func (w *worker) run(n int, until time.Time) {
	for i := 0; n > 0 && i < n || n == 0; i++ {
		before := time.Now()
		if n == 0 && !before.Before(until) {
			return
		}
		status, body, err := w.client.do()
		w.latencies = append(w.latencies, time.Since(before))
		if err != nil {
			w.judge.fail(err)
			return
		}
		w.judge.check(status, body)
	}
}

// judge counts wrong answers. An answer that is byte for byte one that was found right needs no
// second look.
type judge struct {
	work   *canned.Work
	filler bool
	right  atomic.Pointer[[]byte]
	wrong  atomic.Int64
	first  atomic.Pointer[string]
}

func (j *judge) check(status int, body []byte) {
	if status != http.StatusOK {
		j.fail(fmt.Errorf("status %d: %.200s", status, body))
		return
	}
	if right := j.right.Load(); right != nil && bytes.Equal(*right, body) {
		return
	}
	err := error(nil)
	if j.filler {
		if want := canned.Filler(len(j.work.Answer)); string(body) != want {
			err = fmt.Errorf("%d bytes are not the filler", len(body))
		}
	} else {
		err = j.work.Check(body)
	}
	if err != nil {
		j.fail(err)
		return
	}
	right := bytes.Clone(body)
	j.right.Store(&right)
}

func (j *judge) fail(err error) {
	j.wrong.Add(1)
	text := err.Error()
	j.first.CompareAndSwap(nil, &text)
}

func dial(work *canned.Work, addr string) (client, error) {
	if work.Method == "" {
		cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw.Codec{}), grpc.WaitForReady(true)))
		return &grpcClient{cc: cc, work: work}, err
	}
	h, err := dialHTTP(addr)
	return &httpClient{h: h, request: work.HTTPRequest()}, err
}

type httpClient struct {
	h       *httpConn
	request []byte
}

func (c *httpClient) do() (int, []byte, error) { return c.h.do(c.request) }
func (c *httpClient) close()                   { c.h.conn.Close() }

type grpcClient struct {
	cc   *grpc.ClientConn
	work *canned.Work
	body []byte
}

func (c *grpcClient) do() (int, []byte, error) {
	var reply mem.BufferSlice
	if err := c.call(&reply); err != nil {
		return 0, nil, err
	}
	c.body = append(c.body[:0], make([]byte, reply.Len())...)
	reply.CopyTo(c.body)
	reply.Free()
	return http.StatusOK, c.body, nil
}

func (c *grpcClient) call(reply *mem.BufferSlice) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if c.work.Requests == nil {
		return c.cc.Invoke(ctx, c.work.RPC, c.work.Request, reply)
	}
	stream, err := c.cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, c.work.RPC)
	if err != nil {
		return err
	}
	for _, m := range c.work.Requests {
		if stream.SendMsg(m) != nil {
			break // RecvMsg says why.
		}
	}
	_ = stream.CloseSend() // As above.
	return stream.RecvMsg(reply)
}

func (c *grpcClient) close() { c.cc.Close() }

// memory is the part of runtime.MemStats that is needed.
type memory struct {
	Mallocs, TotalAlloc uint64
	NumGC               uint32
}

// variables are what a process says of itself.
type variables struct {
	Memory memory `json:"memstats"`
	// LockWait is from package locks, in seconds.
	LockWait float64 `json:"lock_wait_seconds"`
}

func readVars(addr string) (vars variables, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + addr + "/debug/vars")
	if err != nil {
		return vars, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&vars)
	return vars, err
}
