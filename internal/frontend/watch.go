package frontend

import (
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"
)

// lookEvery is how often the connection of a client is looked at. A client that leaves is noticed
// within this time.
const lookEvery = time.Second

// WatchClient calls gone, once and in its own goroutine, when the client of an HTTP/1.1 request
// closes its connection, or its half of it. stop ends the watch, but gone may still be called for a
// moment afterwards.
//
// net/http notices by itself that a client leaves, but only while somebody reads the body, or after
// its end if the client sends nothing more. An upload that waits for the upstream, a body that
// nobody wants and a second request that follows the first one hide it: the end of the connection
// comes after bytes that nobody reads. So the system is asked. Over HTTP/2 and HTTP/3 the server
// always reads, and there is nothing to do.
//
// WatchClient needs Options.ClientConn and Linux. Without them it does nothing.
func (o *Options) WatchClient(r *http.Request, gone func()) (stop func()) {
	if o.ClientConn == nil || r.ProtoMajor != 1 {
		return func() {}
	}
	closed := closedByPeer(innermostConn(o.ClientConn(r)))
	if closed == nil {
		return func() {}
	}
	return newClientWatch(closed, gone).stop
}

// clientWatch looks at the connection of one client from time to time.
type clientWatch struct {
	closed func() bool
	gone   func()

	mu    sync.Mutex
	timer *time.Timer // Nil: stopped.
}

func newClientWatch(closed func() bool, gone func()) *clientWatch {
	w := &clientWatch{closed: closed, gone: gone}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(lookEvery, w.look)
	return w
}

func (w *clientWatch) look() {
	closed := w.closed()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.timer == nil:
	case closed:
		w.timer = nil
		go w.gone()
	default:
		w.timer.Reset(lookEvery)
	}
}

func (w *clientWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// innermostConn returns the connection that the system knows, or nil. It looks under TLS and under
// the wrappers of servers and their plugins, most of which embed the net.Conn.
func innermostConn(c net.Conn) net.Conn {
	for range 8 { // Nobody wraps more often.
		if c == nil || isSystemConn(c) {
			return c
		}
		if outer, ok := c.(interface{ NetConn() net.Conn }); ok {
			c = outer.NetConn()
			continue
		}
		v := reflect.Indirect(reflect.ValueOf(c))
		if v.Kind() != reflect.Struct {
			return nil
		}
		field := v.FieldByName("Conn")
		if !field.IsValid() || !field.CanInterface() {
			return nil
		}
		c, _ = field.Interface().(net.Conn)
	}
	return nil
}
