package schema

import "strings"

// ownPackages are the packages of the services that gRPC itself defines for the connection between
// two parties, without their version. Other packages that begin with `grpc.` are somebody else's.
var ownPackages = []string{"grpc.reflection", "grpc.health", "grpc.channelz", "grpc.binarylog", "grpc.go.profiling"}

// IsGRPCOwn reports whether a service, by its full name, is one of gRPC's own: server reflection,
// health checking, channelz, the binary log, and grpc-go's profiling, in any version. They describe
// one instance, so they are not part of a schema.
func IsGRPCOwn(service string) bool {
	for _, p := range ownPackages {
		rest, ok := strings.CutPrefix(service, p+".v")
		if ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' && strings.Count(rest, ".") == 1 {
			return true
		}
	}
	return false
}
