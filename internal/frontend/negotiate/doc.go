// Package negotiate reads the headers by which client and gateway agree on how to talk:
// Content-Type and Accept, the codings of bodies, timeouts, and the percent-encoding of
// grpc-message.
//
// Its functions work on plain text and are the same for every protocol. Ordinary input allocates
// nothing. The frontends decide which types they offer and what an error means (400, 406, 415).
package negotiate
