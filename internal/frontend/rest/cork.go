package rest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// corkedUpgrade is a ResponseWriter whose Hijack returns a corkedConn.
type corkedUpgrade struct {
	http.ResponseWriter
	conn *corkedConn // Nil before Hijack.
}

// Hijack implements http.Hijacker.
func (u *corkedUpgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijack: %w", err)
	}
	u.conn = &corkedConn{Conn: conn}
	rw.Writer.Reset(u.conn)
	return u.conn, rw, nil
}

// maxHeld is how many bytes are held back at most. Small frames are gathered to save system calls.
// A large frame is worth a call of its own.
const maxHeld = 16 << 10

// corkedConn can hold back what is written. The library flushes each WebSocket frame, and this lets
// many of them leave in one write.
type corkedConn struct {
	net.Conn
	mu     sync.Mutex
	corked bool
	held   []byte
}

// Write implements net.Conn.
func (c *corkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corked && len(c.held)+len(p) <= maxHeld {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	if err := c.release(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// cork holds back what is written from now on.
func (c *corkedConn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork writes what was held back.
func (c *corkedConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	return c.release()
}

// release writes what is held back.
func (c *corkedConn) release() error {
	held := c.held
	c.held = nil // An idle connection holds no buffer.
	if len(held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(held)
	return err
}
