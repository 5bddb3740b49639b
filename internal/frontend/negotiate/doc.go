// Package negotiate reads the headers by which client and gateway agree on how to talk: Content-Type and Accept, the
// codings of bodies, timeouts, and the percent-encoding of grpc-message.
//
// All of it is plain functions of text, the same for every protocol, and nothing is allocated for ordinary input. The
// package decides nothing about a request: which types are offered, and what an error means there (400, 406, 415), is
// for the frontends.
package negotiate
