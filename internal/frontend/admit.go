package frontend

import (
	"context"
	"net/http"
)

const (
	// admitFrom is the size of a body from which it may have to wait, in bytes.
	admitFrom = 16 << 10
	// admitMost is the room for a body that is larger, or of unknown size, in bytes. A client that
	// announces much and sends little must not take all the room.
	admitMost = 64 << 10
)

// AdmittingConn is a connection that makes the bodies of requests wait while much waits to be
// written. Admit returns when a body of about n bytes may be read. It does not wait for long. The
// caller calls release when the message is given to the connection, or will not be.
type AdmittingConn interface {
	Admit(ctx context.Context, n int64) (release func())
}

// Admit waits until the body of a request may be read. While it waits, the system holds the body
// and not this process. Small bodies never wait. The caller calls release before the call.
func (m *Method) Admit(r *http.Request) (release func()) {
	n := min(r.ContentLength, admitMost)
	if n < 0 {
		n = admitMost
	}
	if conn, ok := m.Conn.(AdmittingConn); ok && n >= admitFrom {
		return conn.Admit(r.Context(), n)
	}
	return func() {}
}
