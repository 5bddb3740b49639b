package peers

import (
	"errors"

	"golang.org/x/net/http2"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// quirk says in which ways a kind of peer differs from the others.
type quirk struct {
	// chatAtOnce is how many messages of 10,000 bytes may be sent both ways at once. 0: any number.
	chatAtOnce int
	// joinsLists is true if binary metadata of one name is joined, so that the server refuses it.
	joinsLists bool
	// without are the cases of TestPeers that make no sense with the peer.
	without []string
	// deaf is true if the server is not told that the client has cancelled a call.
	deaf bool
	// refuses is true if the peer sends REFUSED_STREAM for calls that the server has processed.
	refuses bool
	// cancelsAtStop is true if calls may end with CANCELLED when the peer stops gracefully.
	cancelsAtStop bool
	// dropsAtStop is true if calls may be lost when the peer stops gracefully. See dropped.
	dropsAtStop bool
	// resetsTooLarge is true if the peer resets a call with CANCEL whose message is too large.
	resetsTooLarge bool
	// tooManyPings is true if the peer closes connections with too many pings.
	tooManyPings bool
}

// quirks are the kinds of peers that differ, and why.
var quirks = map[*Kind]quirk{
	// The server of gRPC core permits a ping every five minutes by default, and three early ones.
	// When it shuts down, calls that come just before the client reads its GOAWAY end with
	// CANCELLED. It does not begin with them, but it does not say so.
	CPP:    {tooManyPings: true, cancelsAtStop: true},
	Python: {tooManyPings: true, cancelsAtStop: true},
	// Java permits as few pings. Debian's version resets calls whose message is too
	// large.
	Java: {tooManyPings: true, resetsTooLarge: true},
	HAProxy: {
		// HAProxy stops both directions of a stream when the buffers of both are full. It ends the
		// stream after its timeout. The client of grpc-go stalls there as well.
		chatAtOnce: 5,
		// HAProxy sends REFUSED_STREAM when it has no answer to give, for example when the server
		// was lost on a connection that was used before.
		refuses: true,
	},
	// Apache joins the fields of a request that have the same name. The server of grpc-go behind it
	// refuses lists in binary metadata.
	//
	// Apache does not end its call to the server when the client cancels. It then lets the
	// connection have fewer calls at a time, down to one. Further calls wait for those that were
	// cancelled.
	//
	// Apache says that it stops with a GOAWAY that still permits new streams. A stream that comes
	// after it is an internal error of Apache, which then closes the connection in the middle of
	// other calls. A client cannot avoid this: its call may be on the way when Apache sends the
	// GOAWAY.
	Apache: {
		joinsLists: true, deaf: true, dropsAtStop: true,
		without: []string{"cancel while messages come", "cancel at random moments"},
	},
}

// callbackFailure is NGHTTP2_ERR_CALLBACK_FAILURE of libnghttp2, which is -902. Apache sends it as
// the error code of a GOAWAY.
const callbackFailure http2.ErrCode = 1<<32 - 902

// dropped reports whether a call was lost by Apache's error at a stop.
func dropped(o *outcome) bool {
	var lost *rpcwire.ConnError
	return o.err != nil && errors.As(o.err, &lost) &&
		lost.GoAway != nil && lost.GoAway.Code == callbackFailure
}
