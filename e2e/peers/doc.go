// Package peers starts gRPC servers that are not written in Go, and HTTP/2 proxies in front of a
// gRPC server. Its tests check that the transport rpcwire works with each of them.
//
// All servers have the same service, peers.Peer. Its messages are google.protobuf.BytesValue. Most
// servers pass the bytes on and do not look into them.
//
//   - Unary answers with its request.
//   - Download answers with its request as often as "x-times" says.
//   - Upload answers with the last message of the request.
//   - Chat answers each message with that message.
//
// The metadata of a call says what else the server does:
//
//   - "x-id" names the call in the server's log.
//   - "x-echo-...", which may be binary, comes back in the header and in the trailer.
//   - "x-wait-ms" is how long the server waits before it ends the call, in milliseconds.
//   - "x-code" is the status of the call. Default: OK. "x-message-bin" is its message in UTF-8, and
//     "x-details-bin" is a google.rpc.Status with its details.
//
// The trailer of a call that ends has "x-messages", the number of messages that came.
//
// A server logs "start ID" when it begins with a call, and then "end ID" or "cancelled ID". It
// writes each line at once, so that the log is complete even if the server is killed.
package peers
