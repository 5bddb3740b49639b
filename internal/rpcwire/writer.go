package rpcwire

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const (
	// turn is how much of a request is written before the next request gets its turn, in bytes.
	turn = 16 << 10
	// batchMax is about how much is written at once, in bytes.
	batchMax = 64 << 10
	// keptBatch is the size up to which the buffer is kept while there is nothing to write.
	keptBatch = 8 << 10
	// largeBatch is the size of the buffers in largeBatches. A batch with the last turn fits.
	largeBatch = batchMax + turn + 4<<10
)

// largeBatches has *[]byte for connections that have large batches to write. A connection that has
// nothing to write gives its buffer back, since there may be many connections.
var largeBatches = sync.Pool{New: func() any {
	b := make([]byte, 0, largeBatch)
	return &b
}}

// control are the frames that are not part of a request. Each kind is bounded: by the number of
// streams, by what the windows let the peer send, or by controlMax.
type control struct {
	settingsAcks int
	pingAcks     [][8]byte
	// ping is true if a keepalive ping is due.
	ping bool
	// connUpdate is what the peer may send again on the connection.
	connUpdate uint32
	updates    []update
	resets     []reset
}

// update lets the peer send more on a stream.
type update struct{ stream, increment uint32 }

// reset ends a stream.
type reset struct {
	stream uint32
	code   http2.ErrCode
}

// writeLoop writes until the connection is closed.
func (c *Conn) writeLoop() {
	defer c.ended()
	var buf []byte
	for {
		// Callers that are about to start get their chance to be in this batch.
		runtime.Gosched()
		c.mu.Lock()
		buf = c.collectLocked(buf[:0])
		if len(buf) == 0 && c.state != connClosed {
			if len(c.streams) == 0 && cap(buf) > keptBatch {
				buf = nil
				c.giveLargeBack()
			}
			c.writerIdle = true
			c.mu.Unlock()
			<-c.kick
			continue
		}
		closed := c.state == connClosed
		exhausted := c.nextID > maxStreamID
		c.mu.Unlock()
		if closed {
			if len(buf) > 0 {
				_, _ = c.nc.Write(buf) // the connection ends anyway
			}
			_ = c.nc.Close()
			return
		}
		if exhausted {
			c.tellDraining(GoAway{LastStream: maxStreamID, Debug: StreamIDsExhausted})
		}
		if _, err := c.nc.Write(buf); err != nil {
			c.writeFailed(err)
			return
		}
	}
}

// widen moves the batch to a large buffer before n more bytes, if it has too little room for them
// and they are a whole turn. More of them may follow.
func (c *Conn) widen(buf []byte, n int) []byte {
	if n < turn || cap(buf)-len(buf) >= n || c.large != nil {
		return buf
	}
	c.large, _ = largeBatches.Get().(*[]byte)
	return append(*c.large, buf...)
}

// giveLargeBack gives the large buffer back, if there is one. The batch must not use it any more.
func (c *Conn) giveLargeBack() {
	if c.large != nil {
		largeBatches.Put(c.large)
		c.large = nil
	}
}

// writeFailed lets the reader read what has come, and what the peer still sends within a moment. It
// may say which calls were processed. Then the reader closes the connection.
func (c *Conn) writeFailed(err error) {
	c.mu.Lock()
	if c.state != connClosed {
		c.writeErr = err
		if len(c.streams) == 0 {
			c.closeLocked(lost(err))
		} else {
			c.drainLocked()
			_ = c.nc.SetReadDeadline(time.Now().Add(closeTimeout))
		}
	}
	c.mu.Unlock()
	c.tellDraining(GoAway{LastStream: maxStreamID, Debug: WritingFailed})
	<-c.readerDone
	_ = c.nc.Close()
}

// wakeWriterLocked makes the writer look for something to write.
func (c *Conn) wakeWriterLocked() {
	if c.writerIdle {
		c.writerIdle = false
		c.kick <- struct{}{}
	}
}

// collectLocked appends the next batch to buf: first the control frames, then new calls, then data.
func (c *Conn) collectLocked(buf []byte) []byte {
	buf = c.collectControl(buf)
	if c.state == connClosed {
		return append(buf, c.lastWords...)
	}
	buf = c.openLocked(buf)
	for call := c.ending.pop(); call != nil; call = c.ending.pop() {
		buf = appendFrameHeader(buf, 0, http2.FrameData, http2.FlagDataEndStream, call.id)
		call.out.ended = true
	}
	for len(buf) < batchMax && c.sendWindow > 0 && !c.sending.empty() {
		buf = c.sendLocked(buf, c.sending.pop())
	}
	return buf
}

func (c *Conn) collectControl(buf []byte) []byte {
	o := &c.control
	for ; o.settingsAcks > 0; o.settingsAcks-- {
		buf = appendFrameHeader(buf, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	}
	for _, data := range o.pingAcks {
		buf = appendPing(buf, http2.FlagPingAck, data)
	}
	if o.ping {
		buf = appendPing(buf, 0, [8]byte{})
	}
	if o.connUpdate > 0 {
		buf = appendWindowUpdate(buf, 0, o.connUpdate)
	}
	for _, u := range o.updates {
		if c.streams[u.stream] != nil {
			buf = appendWindowUpdate(buf, u.stream, u.increment)
		}
	}
	for _, r := range o.resets {
		buf = appendReset(buf, r.stream, r.code)
	}
	*o = control{pingAcks: o.pingAcks[:0], updates: o.updates[:0], resets: o.resets[:0]}
	return buf
}

// openLocked gives streams to calls, as far as the peer allows.
func (c *Conn) openLocked(buf []byte) []byte {
	var now time.Time
	for len(buf) < batchMax && !c.pending.empty() && uint32(len(c.streams)) < c.peer.maxStreams {
		call := c.pending.first
		if !call.req.Deadline.IsZero() {
			if now.IsZero() {
				now = time.Now()
			}
			if call.late(now) {
				c.expireLocked(call)
				continue
			}
		}
		c.pending.remove(call)
		call.id, call.state = c.nextID, callOpen
		c.nextID += 2
		c.streams[call.id] = call
		call.out.window, call.in.window = c.peer.window, c.opts.StreamWindow
		buf = c.appendHeadersLocked(buf, call, now)
		if call.out.sleeping {
			wake(call.sendWake)
		}
		c.enqueueLocked(call)
		c.wakeKeepaliveLocked()
		if c.nextID > maxStreamID {
			c.drainLocked()
		}
	}
	return buf
}

// enqueueLocked puts an open call into the list that fits what it has to send, if it has anything.
func (c *Conn) enqueueLocked(call *Call) {
	o := &call.out
	if call.list != nil || o.ended {
		return
	}
	switch {
	case o.left() == 0 && o.closed:
		c.ending.push(call)
	case o.left() > 0 && o.window > 0:
		c.sending.push(call)
	}
}

// sendLocked appends a DATA frame of a call, and puts the call back into its list.
func (c *Conn) sendLocked(buf []byte, call *Call) []byte {
	o := &call.out
	n := int(min(int64(o.left()), turn, o.window, c.sendWindow))
	flags := http2.Flags(0)
	if o.closed && n == o.left() {
		flags, o.ended = http2.FlagDataEndStream, true
	}
	buf = c.widen(buf, frameHeaderSize+n)
	buf = appendFrameHeader(buf, n, http2.FrameData, flags, call.id)
	buf = o.take(buf, n)
	o.window -= int64(n)
	c.sendWindow -= int64(n)
	c.backlogLocked(-n)
	if n >= progressMin || o.left() == 0 {
		c.flood.progress()
	}
	if o.sleeping && !o.blocked() {
		wake(call.sendWake)
	}
	c.enqueueLocked(call)
	return buf
}

// queueLocked takes a message of a stream.
func (c *Conn) queueLocked(call *Call, framed bool, parts [][]byte) {
	c.backlogLocked(call.out.add(framed, parts, true))
	if call.state == callOpen {
		c.enqueueLocked(call)
		c.wakeWriterLocked()
	}
}
