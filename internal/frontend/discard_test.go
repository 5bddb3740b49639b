package frontend

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wrapped is how plugins wrap a body.
type wrapped struct {
	Source io.ReadCloser
	Length int
}

func (w *wrapped) Read(p []byte) (int, error) {
	n, err := w.Source.Read(p)
	w.Length += n
	return n, err
}

func (w *wrapped) Close() error { return w.Source.Close() }

// opaque is a body that does not show what it reads from.
type opaque func(p []byte) (int, error)

func (o opaque) Read(p []byte) (int, error) { return o(p) }
func (opaque) Close() error                 { return nil }

func TestBodiesWithALimitAreRecognized(t *testing.T) {
	plain := io.NopCloser(strings.NewReader("x"))
	limited := http.MaxBytesReader(nil, plain, 1)
	for name, tc := range map[string]struct {
		body io.ReadCloser
		want bool
	}{
		"a plain one":              {plain, false},
		"a plain one in another":   {&wrapped{Source: plain}, false},
		"a limit":                  {limited, true},
		"a limit in another":       {&wrapped{Source: struct{ io.ReadCloser }{limited}}, true},
		"none":                     {http.NoBody, false},
		"one that cannot be known": {opaque(nil), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hasLimit(tc.body); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// departing is a body of so many bytes, after which the connection ends.
type departing struct {
	left int
	err  error
	read int
}

func (d *departing) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, d.err
	}
	n := min(d.left, len(p))
	d.left -= n
	d.read += n
	return n, nil
}

func (d *departing) Close() error { return nil }

// TestWatchUnreadSeesTheEndAfterAnUnwantedBody: everything that the buffers of two systems may hold
// (4 MiB and 6 MiB) is between the gateway and the end of the connection.
func TestWatchUnreadSeesTheEndAfterAnUnwantedBody(t *testing.T) {
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		size  int
		err   error
		proto int
		head  string
		gone  bool
		read  int
	}{
		"the connection ends at once":               {0, io.ErrUnexpectedEOF, 1, "", true, 0},
		"the connection ends after a large body":    {10 * mib, io.ErrUnexpectedEOF, 1, "", true, 10 * mib},
		"the connection breaks":                     {mib, &os.SyscallError{Err: syscall.ECONNRESET}, 1, "", true, mib},
		"the body ends":                             {mib, io.EOF, 1, "", false, mib},
		"the server's time for the body is over":    {mib, os.ErrDeadlineExceeded, 1, "", false, mib},
		"another handler's limit is reached":        {mib, &http.MaxBytesError{}, 1, "", false, mib},
		"the client waits until its body is wanted": {mib, io.ErrUnexpectedEOF, 1, "100-continue", false, 0},
		"HTTP/2, where the server reads":            {mib, io.ErrUnexpectedEOF, 2, "", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &departing{left: tc.size, err: tc.err}
				r := httptest.NewRequest(http.MethodGet, "/", &wrapped{Source: body})
				r.ContentLength, r.ProtoMajor = -1, tc.proto
				if tc.head != "" {
					r.Header.Set("Expect", tc.head)
				}
				gone := make(chan struct{})
				stop := new(Options).WatchUnread(NewBody(httptest.NewRecorder(), r), func() { close(gone) })
				select {
				case <-gone:
					if !tc.gone {
						t.Error("the client has not left")
					}
				case <-time.After(2 * time.Second): // This is the promise, in the test's own time.
					if tc.gone {
						t.Error("nobody has noticed")
					}
				}
				stop()
				if body.read != tc.read {
					t.Errorf("%d bytes were read, want %d", body.read, tc.read)
				}
			})
		})
	}
}

// endless is a body that never ends, and that Interrupt ends.
type endless struct{ closed chan struct{} }

func (e endless) Read(p []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, os.ErrDeadlineExceeded
	default:
		return len(p), nil
	}
}

func (e endless) Close() error {
	close(e.closed)
	return nil
}

func TestAnEndlessUnwantedBodyIsDiscardedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := &wrapped{Source: endless{make(chan struct{})}}
		total := 0
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Body = &wrapped{Source: counting{body, &total}}
		r.ContentLength = -1
		stop := new(Options).WatchUnread(NewBody(httptest.NewRecorder(), r), func() { t.Error("the client has not left") })
		time.Sleep(10 * time.Second)
		stop()
		if perSecond := total / 10; perSecond > 11<<20 || perSecond < 9<<20 {
			t.Errorf("%d bytes were read in a second", perSecond)
		}
	})
}

// counting counts what is read.
type counting struct {
	io.ReadCloser
	total *int
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	*c.total += n
	return n, err
}

// TestWatchClientNoticesWithinASecond: the system knows when a client has left, and is asked often
// enough.
func TestWatchClientNoticesWithinASecond(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 999 * time.Millisecond, time.Second, 90 * time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				gone := make(chan struct{})
				w := newClientWatch(func() bool { return time.Since(began) >= after }, func() { close(gone) })
				defer w.stop()
				<-gone
				if late := time.Since(began) - after; late > time.Second {
					t.Errorf("noticed %v later", late)
				}
			})
		})
	}
}
