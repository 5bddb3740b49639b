// Package discovery is the contract between the gateway and the sources that know the instances of
// a service. Its Feed shares one watch of a source among those who need it. The package knows no
// registry: each registry has a subdirectory.
package discovery

import (
	"context"
	"time"
)

// Endpoint is one instance of a service, as a registry describes it.
type Endpoint struct {
	// ID identifies the registration. It is unique within its source: the key in a registry, or the
	// address if there is no registry. A changed value under the same ID replaces the endpoint.
	ID string
	// Addr is the address to dial, host:port. Two registrations may have the same address. They are
	// one endpoint until both are gone. A source that is Fixed may also name Unix sockets, as
	// ParseUnix returns them. From any other source they are refused.
	Addr string
	// Weight is the share of calls relative to the other endpoints of the source. 0 means that the
	// registry gives no weight, which counts as the mean of the others.
	Weight uint32
	// Registration changes when an instance registers again under the same ID with the same value,
	// as restarted instances do. It does not change with heartbeats. 0 means that the source cannot
	// tell.
	Registration int64
	// Created is the registry's revision, or another ever growing number, from the time at which
	// the registration was made. A changed value under the same ID does not change it. 0 means that
	// the source cannot tell. Only catalogs need it.
	Created int64
	// Service is the name of the service that this is an instance of. Catalogs set it. All other
	// sources know one service only, and leave it empty.
	Service string
	// Metadata is what else the registry says. It is shown to operators and never trusted: TLS
	// server names are not taken from it.
	Metadata map[string]string
}

// Skipped is an entry of the registry that could not be used. The other entries of the list are not
// affected.
type Skipped struct {
	// ID is the key of the entry.
	ID string
	// Reason says what was expected and what was found.
	Reason string
}

// State is everything that a source knows at one moment. It is immutable once it is published:
// publishers and subscribers never write to its slices and maps.
type State struct {
	// Synced is true once a complete list was obtained, even an empty one. Before that, Endpoints
	// is empty because nothing is known.
	Synced bool
	// Endpoints are sorted by ID. After an error they are those of the last good list.
	Endpoints []Endpoint
	// Skipped are the entries that could not be used.
	Skipped []Skipped
	// Revision is the revision of the registry that the list shows. 0 if the source has no
	// revisions.
	Revision int64
	// LastContact is when the registry last answered. Zero if it never did.
	LastContact time.Time
	// Err is the present trouble with the registry: the list may be out of date. Nil if all is
	// well.
	Err error
	// Stale is true if the list is not the registry's present state. It comes from a snapshot on
	// disk, or from a member of the registry's cluster that has no quorum.
	Stale bool
	// Hold is how long a mass disappearance from this source is doubted. Until then, instances that
	// are connected stay in use. 0 means that every list is believed at once.
	Hold time.Duration
	// Withdrawn are endpoints that somebody has recently taken out of the registry on purpose. Hold
	// does not apply to them. A source that cannot tell leaves it empty.
	Withdrawn []Endpoint
	// Snapshot is when the list was saved, if it comes from a snapshot on disk. Otherwise it is
	// zero. The gateway sets it, and sources do not.
	Snapshot time.Time
}

// Source is the contract for anything that knows the endpoints of a service. The guest modules in
// the namespace http.grpc_gateway.discovery implement it. Modules of third parties do so in the
// same way.
//
//nolint:iface // A Catalog differs in words only.
type Source interface {
	// ID is a canonical name for what is watched and how. Two sources with equal IDs are
	// interchangeable: they share one watch, even across config reloads. An ID has no secrets in
	// clear text. If two credentials must be told apart, it has a hash of them.
	ID() string
	// Watch publishes the state now and on every change, from one goroutine at a time. It returns
	// when ctx is done, and never before: it publishes errors in State.Err and tries again with
	// backoff. Watch may outlive the config that made the source.
	Watch(ctx context.Context, publish func(State))
}

// Fixed is implemented by sources whose list is part of the config. Such a list is never missing,
// so no snapshot of it is kept on disk. Its addresses were written by the operator.
type Fixed interface {
	Fixed()
}

// Target is a parsed target URL, scheme://authority/path?query.
type Target struct {
	// Scheme is without "+tls": "etcd", "dns", "dns+srv" or "static", for example.
	Scheme string
	// TLS is true if the scheme ended in "+tls".
	TLS bool
	// Authority may be a comma-separated list of host:port.
	Authority string
	// Path is without its leading slash. Percent-encoding is resolved.
	Path  string
	Query map[string][]string
}

// TargetUnmarshaler is implemented by sources that can be configured by a target URL. The part of
// the scheme before its first "+" names the guest module.
type TargetUnmarshaler interface {
	UnmarshalTarget(t Target) error
}
