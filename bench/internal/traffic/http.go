package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// httpConn is a kept HTTP/1.1 connection. It knows the answers of Go's own server and not more of
// HTTP, to cost little.
type httpConn struct {
	conn net.Conn
	in   []byte // read buffer
	r, w int    // what of it is unread
	body []byte // of the last answer, if it had to be put together of chunks
}

func dialHTTP(addr string) (*httpConn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &httpConn{conn: c, in: make([]byte, 8<<10)}, nil
}

// do sends a request and returns the answer's status and body, which is good until the next
// request.
func (h *httpConn) do(request []byte) (status int, body []byte, err error) {
	if _, err := h.conn.Write(request); err != nil {
		return 0, nil, err
	}
	h.r, h.w = 0, 0
	head, err := h.head()
	if err != nil {
		return 0, nil, fmt.Errorf("response header: %w", err)
	}
	if len(head) < 12 {
		return 0, nil, errors.New("no status line")
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, nil, err
	}
	if length, ok := field(head, "\r\nContent-Length: "); ok {
		n, err := strconv.Atoi(string(length))
		if err != nil {
			return 0, nil, err
		}
		body, err = h.next(n)
		return status, body, err
	}
	if encoding, _ := field(head, "\r\nTransfer-Encoding: "); string(encoding) != "chunked" {
		return 0, nil, errors.New("an answer of unknown length")
	}
	body, err = h.chunks()
	return status, body, err
}

// head returns the bytes before the empty line.
func (h *httpConn) head() ([]byte, error) {
	for from := h.r; ; {
		if i := bytes.Index(h.in[from:h.w], []byte("\r\n\r\n")); i >= 0 {
			head := h.in[h.r : from+i]
			h.r = from + i + 4
			return head, nil
		}
		from = max(h.r, h.w-3)
		if err := h.fill(); err != nil {
			return nil, err
		}
	}
}

func field(head []byte, name string) (value []byte, ok bool) {
	_, rest, ok := bytes.Cut(head, []byte(name))
	value, _, _ = bytes.Cut(rest, []byte("\r\n"))
	return value, ok
}

// fill reads what there is, into a larger buffer if the present one is full.
func (h *httpConn) fill() error {
	if h.w == len(h.in) {
		h.in = append(h.in, make([]byte, len(h.in))...)
	}
	n, err := h.conn.Read(h.in[h.w:])
	h.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// next returns the next n bytes.
func (h *httpConn) next(n int) ([]byte, error) {
	for h.w-h.r < n {
		if err := h.fill(); err != nil {
			return nil, err
		}
	}
	b := h.in[h.r : h.r+n]
	h.r += n
	return b, nil
}

func (h *httpConn) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(h.in[h.r:h.w], '\n'); i >= 0 {
			line := h.in[h.r : h.r+i]
			h.r += i + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if err := h.fill(); err != nil {
			return nil, err
		}
	}
}

func (h *httpConn) chunks() ([]byte, error) {
	h.body = h.body[:0]
	for {
		line, err := h.line()
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return nil, fmt.Errorf("chunk: %w", err)
		}
		chunk, err := h.next(int(n) + 2)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return h.body, nil
		}
		h.body = append(h.body, chunk[:n]...)
		if h.r > 32<<10 { // What was read is not needed any more.
			h.w = copy(h.in, h.in[h.r:h.w])
			h.r = 0
		}
	}
}
