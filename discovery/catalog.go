package discovery

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Catalog is the contract for a registry as a whole: it knows the instances of many services. The
// guest modules in the namespace http.grpc_gateway.catalogs implement it. Modules of third parties
// do so in the same way.
//
// A catalog is a Source, and everything that the contract of Source says applies to it. Four things
// are added:
//
//   - Endpoints and Withdrawn are those of all services. Each names its service in
//     Endpoint.Service. An endpoint without one, or whose name CheckService refuses, is left out.
//   - Two equal instances of different services are two endpoints, with different IDs.
//   - Endpoint.Created tells which of two services is older. If both have the same method, the
//     older one keeps it. A registry that cannot tell leaves it at 0, and then the gateway goes by
//     what it saw first.
//   - An entry that is not the registration of any service belongs into Skipped.
//
// A service exists while it has an endpoint. Whether it speaks gRPC, and which services are opened,
// is decided by the gateway and not by the catalog. The names of services are whatever the registry
// says. They are shown to operators and matched with their patterns, and never sent to clients. The
// page docs/catalog.md describes what the gateway does with a catalog.
//
//nolint:iface // The contract differs in words only.
type Catalog interface {
	Source
}

// LogsTrouble is implemented by sources and catalogs that log trouble with their registry, its end,
// and skipped entries themselves. For all others the gateway does so. The etcd sources implement
// it, because they log one line for a whole cluster.
type LogsTrouble interface {
	LogsTrouble()
}

// maxService is the length of the longest name of a service, in bytes. Names become labels of
// metrics.
const maxService = 253

// CheckService returns an error if name cannot be the name of a service in a catalog. A name has
// from 1 to 253 bytes of UTF-8, and no spaces or characters that do not print.
func CheckService(name string) error {
	switch {
	case name == "":
		return errors.New("expected the name of a service, found none")
	case len(name) > maxService:
		return fmt.Errorf("expected the name of a service with at most %d bytes, found %s with %d", maxService, Excerpt(name), len(name))
	case !utf8.ValidString(name), strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || !strconv.IsPrint(r) }):
		return fmt.Errorf("expected the name of a service without spaces and control characters, found %s", Excerpt(name))
	}
	return nil
}
