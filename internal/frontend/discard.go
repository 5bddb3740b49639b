package frontend

import (
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"time"
)

const (
	// discardChunk is how many bytes of a body are discarded at once.
	discardChunk = 16 << 10
	// discardRate bounds how fast a body is discarded: so many bytes, then a pause of
	// discardPause. That is 10 MiB/s, and as much as the buffers of two systems hold by default.
	discardRate  = 256 << 10
	discardPause = 25 * time.Millisecond
	// discardGrace is how long the server may read the rest of such a body, after the answer and
	// before it closes the connection. A client that sends at that moment would otherwise lose the
	// answer to a reset.
	discardGrace = 500 * time.Millisecond
)

// WatchUnread is WatchClient for a request whose body Skip has left unread, and whose answer has
// not begun. It discards the body meanwhile, because the end of the connection comes after the
// body, and the system does not know of that end while its buffers are full. This works on every
// system.
//
// Two kinds of body are not discarded. One is a body that the client sends only when it is asked
// (Expect: 100-continue). The other is a body for which another handler has set a limit
// (http.MaxBytesReader), because that writes to the response when the limit is reached.
//
// stop must be called before the handler returns.
func (o *Options) WatchUnread(b *Body, gone func()) (stop func()) {
	unwatch := o.WatchClient(b.r, gone)
	if b.r.ProtoMajor != 1 || b.Ended() || b.r.Header.Get("Expect") != "" || hasLimit(b.r.Body) {
		return unwatch
	}
	quit := make(chan struct{})
	work := GoConfined(func() {
		if clientHasLeft(b.discard(quit)) {
			gone()
		}
	}, gone)
	return func() {
		unwatch()
		close(quit)
		select {
		case <-work.Done():
		default:
			b.Interrupt()
			<-work.Done()
			_ = http.NewResponseController(b.w).SetReadDeadline(time.Now().Add(discardGrace))
		}
		work.Wait()
	}
}

// discard reads the body to its end or until quit is closed.
func (b *Body) discard(quit <-chan struct{}) error {
	buf := GetBuffer(discardChunk)
	defer PutBuffer(buf)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for sum := 0; ; {
		n, err := b.Read((*buf)[:discardChunk])
		if err != nil {
			return err
		}
		if sum += n; sum < discardRate {
			continue
		}
		sum = 0
		pause.Reset(discardPause)
		select {
		case <-pause.C:
		case <-quit:
			return nil
		}
	}
}

// clientHasLeft reports whether an error of reading a body means that the connection is at its end.
func clientHasLeft(err error) bool {
	var e net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &e) && !e.Timeout()
}

// maxBytesReader is the type of what http.MaxBytesReader returns.
var maxBytesReader = reflect.TypeOf(http.MaxBytesReader(nil, http.NoBody, 0))

// hasLimit reports whether a body is one of http.MaxBytesReader, or may be one because its type
// does not tell. Servers and their plugins wrap bodies in structs that have the inner one as a
// field.
func hasLimit(body io.ReadCloser) bool {
	v := reflect.ValueOf(body)
	for range 8 { // Nobody wraps more often.
		if !v.IsValid() || v.Type() == maxBytesReader {
			return v.IsValid()
		}
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return true
		}
		if v.Type().PkgPath() == "net/http" {
			return false
		}
		inner := reflect.Value{}
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Interface && f.Type().Implements(reflect.TypeFor[io.Reader]()) {
				inner = f.Elem()
				break
			}
		}
		v = inner
	}
	return true
}
