package module

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Upstream is one gRPC service (or several in one process): where its instances are, how to connect to them and where their
// schema comes from. The zero value of every field means its default.
type Upstream struct {
	// Where the instances come from: a module in the namespace `http.grpc_gateway.discovery`, such as `etcd`, `static` or `dns`.
	// Required.
	DiscoverRaw json.RawMessage `json:"discover,omitempty" caddy:"namespace=http.grpc_gateway.discovery inline_key=source"`

	// Where the schema comes from. Default: server reflection of the instances.
	Descriptors *Descriptors `json:"descriptors,omitempty"`

	// Connections to each instance. Default: 1.
	Connections int `json:"connections,omitempty"`

	// How many connections to an instance may be opened when its streams queue. Default: 4, or `connections` if that is more.
	MaxConnections int `json:"max_connections,omitempty"`

	// To how many instances this gateway connects, where there are more. Which ones depends on `subset_key`, so that many gateways
	// use about as much of each instance; an instance that comes or goes changes one of them at most. Default: all.
	Subset int `json:"subset,omitempty"`

	// For `subset`: what tells this gateway from others, also after a restart; placeholders such as {env.POD_NAME} are resolved when the
	// config is loaded. Default: the name of the host and Caddy's instance ID, which is kept in its data directory.
	SubsetKey string `json:"subset_key,omitempty"`

	// Limits the addresses that instances may have. Default: every address, except those that are
	// refused by default when they come from a registry or from DNS.
	Networks *Networks `json:"networks,omitempty"`

	// How an instance is picked for a call: `p2c` (the less loaded of two random ones), `round_robin` or `hash` (always the same
	// one for the same `hash_key`). Default: `p2c`.
	Balance string `json:"balance,omitempty"`

	// For `hash`: what calls have in common that go to the same instance, with placeholders, such as
	// `{http.request.header.X-User}`. Requests for which it is empty go by `p2c`.
	HashKey string `json:"hash_key,omitempty"`

	// HTTP/2 keepalive pings. The default is as often as an unconfigured gRPC server tolerates.
	Keepalive *Keepalive `json:"keepalive,omitempty"`

	// How long to wait between attempts to connect to an instance.
	Backoff *Backoff `json:"backoff,omitempty"`

	// How calls that may be executed twice are made again when an instance is unavailable.
	Retry *Retry `json:"retry,omitempty"`

	// Which instances get no calls for a while because calls failed there.
	Eject *Eject `json:"eject,omitempty"`

	// Asks the instances how they are (grpc.health.v1), and gives no new calls to those that do not say SERVING. Absent: they are not asked.
	HealthCheck *HealthCheck `json:"health_check,omitempty"`

	// How long one attempt to connect may take, TLS included. Default: 5s.
	ConnectTimeout caddy.Duration `json:"connect_timeout,omitempty"`

	// Deadline of unary calls to this upstream, from request to answer. A route's own timeout comes first; without this
	// one the handler's holds. Negative: none. A client's own deadline only shortens it.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Largest message accepted from an instance, in bytes. Default: 4194304 (4 MiB).
	MaxReceiveSize int64 `json:"max_receive_size,omitempty"`

	// Secures the connections; the same as in the transport of `reverse_proxy`. Absent: plaintext. An empty object verifies
	// instances against the system's trust store.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// How long calls in flight may go on after their instance was deregistered, the upstream was removed from the config or
	// the process was told to stop. What remains then ends with UNAVAILABLE. Default: 30s.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// If set, the load of a config fails when no instance is ready this soon after its start. By default configs load with every
	// instance down, and calls are answered with 503 until one is up. Until the config has started, or was refused, calls to this
	// upstream wait for an instance, within their own deadlines.
	RequireReady caddy.Duration `json:"require_ready,omitempty"`

	// Whether the last known instances are kept in a file in Caddy's data directory, for a start while the registry is away. They are
	// used until it answers, for 24h at most after it last did, and shown as stale. It means nothing where the instances stand in
	// the config. Default: true.
	Snapshot *bool `json:"snapshot,omitempty"`
}

// Keepalive is when HTTP/2 pings are sent and how long their answer may take.
type Keepalive struct {
	// Quiet time after which an instance is pinged. Default: 5m10s. Many servers answer pings that come more often
	// than every 5m by closing the connection with "too_many_pings", so set their enforcement policy first.
	Time caddy.Duration `json:"time,omitempty"`

	// How long the answer may take before the connection counts as broken. Default: 20s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Also ping connections without a call in flight. The server's enforcement policy must permit it.
	PermitWithoutStream bool `json:"permit_without_stream,omitempty"`
}

// HealthCheck is active health checking by the standard gRPC health service. An instance that does not implement it counts as healthy.
type HealthCheck struct {
	// The name of the service that is asked for. Default: none, which asks for the server as a whole.
	Service string `json:"service,omitempty"`
}

// Backoff grows exponentially, with jitter, from Base to Max.
type Backoff struct {
	// The first pause. Default: 200ms.
	Base caddy.Duration `json:"base,omitempty"`

	// The longest pause. Default: 5s.
	Max caddy.Duration `json:"max,omitempty"`
}

// Descriptors say where the schema of an upstream comes from.
type Descriptors struct {
	// `reflection` (default), `protoset` or `proto`.
	Source string `json:"source,omitempty"`

	// For `reflection`: how often the schema is read anew, besides whenever an instance connects. Default: 1m. Negative: never.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// For `protoset`: files with a FileDescriptorSet, as `protoc --include_imports --descriptor_set_out` or `buf build -o` write
	// them. For `proto`: .proto files, by their place in the file system or under an import path. They are watched for change.
	Files []string `json:"files,omitempty"`

	// For `proto`: directories to look for .proto files in. Default: the directories of the files. The well-known types and
	// google/api come with the gateway.
	ImportPaths []string `json:"import_paths,omitempty"`
}

// Kinds of Descriptors.
const (
	DescriptorsReflection = "reflection"
	DescriptorsProtoset   = "protoset"
	DescriptorsProto      = "proto"
)

// Validate says what is wrong with the upstream on its own, without looking at files or the network.
func (u *Upstream) Validate() error {
	switch {
	case len(u.DiscoverRaw) == 0:
		return errors.New(`it has no source of instances: "discover" is required`)
	case u.Connections < 0 || u.MaxConnections < 0:
		return errors.New("connections: expected a number above 0")
	case u.MaxConnections > 0 && u.MaxConnections < max(u.Connections, 1):
		return fmt.Errorf("connections: the maximum %d is below the minimum %d", u.MaxConnections, max(u.Connections, 1))
	case u.MaxReceiveSize < 0:
		return errors.New("max_receive_size: expected a size above 0")
	case u.ConnectTimeout < 0, u.DrainTimeout < 0, u.RequireReady < 0:
		return errors.New("connect_timeout, drain_timeout and require_ready: expected a duration above 0")
	case u.Keepalive != nil && (u.Keepalive.Time < 0 || u.Keepalive.Timeout < 0):
		return errors.New("keepalive: expected durations above 0")
	case u.TLS != nil && len(u.TLS.ExceptPorts) > 0:
		return errors.New("tls: except_ports cannot be used here: an upstream is plaintext or TLS as a whole")
	case u.TLS != nil && u.TLS.HandshakeTimeout != 0:
		return errors.New("tls: handshake_timeout cannot be used here: connect_timeout includes the handshake")
	}
	if _, _, err := u.Networks.parse(); err != nil {
		return fmt.Errorf("networks: %w", err)
	}
	if err := u.validateBalance(); err != nil {
		return err
	}
	if err := u.validateSubset(); err != nil {
		return err
	}
	if err := u.Backoff.validate(); err != nil {
		return err
	}
	if err := u.Retry.validate(); err != nil {
		return fmt.Errorf("retry: %w", err)
	}
	if err := u.Eject.validate(); err != nil {
		return fmt.Errorf("eject: %w", err)
	}
	if err := u.Descriptors.validate(); err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	return nil
}

func (d *Descriptors) validate() error {
	if d == nil {
		return nil
	}
	switch d.Source {
	case "", DescriptorsReflection:
		if len(d.Files) > 0 || len(d.ImportPaths) > 0 {
			return errors.New("reflection takes neither files nor import paths")
		}
	case DescriptorsProtoset, DescriptorsProto:
		if len(d.Files) == 0 {
			return fmt.Errorf("%s: expected at least one file", d.Source)
		}
		if d.Source == DescriptorsProtoset && len(d.ImportPaths) > 0 {
			return errors.New("protoset takes no import paths")
		}
		if d.Refresh != 0 {
			return fmt.Errorf("%s: files are watched, refresh is for reflection", d.Source)
		}
	default:
		return fmt.Errorf("source %q: expected reflection, protoset or proto", d.Source)
	}
	return nil
}
