// Package routes compiles the routing table of a handler: which methods of which upstreams can be
// reached, by which HTTP routes and by which names. The input is plain data. The output is an
// immutable [Table], which is replaced as a whole when a schema changes.
//
//	table, err := routes.Compile(&routes.Config{RPC: true, Annotations: true}, []routes.Member{{
//		Label:  "users",
//		Schema: s,
//		Codecs: transcode.NewCompiler(s.Types(), transcode.Options{}),
//		Conn:   conn,
//	}})
//
// [Compile] always returns a table. What does not work as it is written is left out and reported as
// a [Problem]. [Table.Check] says which problems are reasons to refuse a config.
//
// Everything that must know which methods a handler offers uses this package: the protocols, the
// routes view of the admin API, and what describes an API to its clients. The rules of `expose` and
// `hide` are here ([Exposure]), because they apply to all of these.
//
// The package does not know Caddy, config structs or Caddyfiles. Package schema reads schemas,
// package pool opens connections, and package frontend serves requests. This package starts no
// goroutine and keeps no state between two calls of Compile. The caller decides when to compile.
package routes
