// Package clienttls is the block `tls` of the gateway's options. The gateway itself uses it, and so
// do sources of instances that connect to a registry. So the block is the same everywhere. It has
// the TLS options of reverse_proxy's http transport.
//
// [Unmarshal] parses the block. [Load] makes a [Client] of it, which follows the files that the
// block names. A renewed certificate is used without a reload.
package clienttls
