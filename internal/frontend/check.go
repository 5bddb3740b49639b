package frontend

import (
	"context"
	"fmt"
)

// Open starts an RPC whose client sends one message, and sends that. It takes over msg, which is
// from GetBuffer. If Method.Check refuses the message, no RPC is started. An error of sending is
// told by Recv. The rest is as with Start.
func (o *Options) Open(ctx context.Context, m *Method, s CallSettings, msg *[]byte, info *Info) (*Call, error) {
	if m.Check != nil {
		if err := m.Check(ctx, *msg); err != nil {
			PutBuffer(msg)
			return nil, err
		}
	}
	c, err := o.Start(ctx, m, s, info)
	if err != nil {
		PutBuffer(msg)
		return nil, err
	}
	_ = c.send(msg)
	return c, nil
}

// refuses shows a message of a running RPC to Method.Check. A message that is refused ends the RPC,
// and Recv tells why.
func (c *Call) refuses(wire []byte) bool {
	err := c.method.Check(c.ctx, wire)
	if err == nil {
		return false
	}
	if c.method.StreamDesc.ClientStreams {
		err.Status.Message = fmt.Sprintf("message %d: %s", c.info.Sent+1, err.Status.GetMessage())
	}
	c.refused.Store(err)
	c.cancel()
	return true
}
