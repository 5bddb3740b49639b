package peers

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
	Apache: {
		joinsLists: true, deaf: true,
		without: []string{"cancel while messages come", "cancel at random moments"},
	},
}
