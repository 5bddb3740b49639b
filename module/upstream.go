package module

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// Upstream is one gRPC service, or several in one process: where its instances are, how to connect
// to them, and where their schema comes from. The zero value of every field means its default.
type Upstream struct {
	// Where the instances are: a module in the namespace `http.grpc_gateway.discovery`, such as
	// `etcd`, `static` or `dns`. Required.
	DiscoverRaw json.RawMessage `json:"discover,omitempty" caddy:"namespace=http.grpc_gateway.discovery inline_key=source"`

	// Where the schema comes from. Default: server reflection of the instances.
	Descriptors *Descriptors `json:"descriptors,omitempty"`

	// The number of connections to each instance. Default: 1.
	Connections int `json:"connections,omitempty"`

	// The maximum number of connections to an instance. More than `connections` are opened while
	// calls queue. Default: 4, or `connections` if that is more.
	MaxConnections int `json:"max_connections,omitempty"`

	// The maximum number of instances that this gateway connects to. `subset_key` decides which
	// ones, so many gateways together use each instance about equally. If an instance comes or
	// goes, at most one of them changes. Default: all instances.
	Subset int `json:"subset,omitempty"`

	// The text that tells this gateway from others. It must stay the same over restarts.
	// Placeholders such as {env.POD_NAME} are resolved when the config is loaded. Default: the name
	// of the host and Caddy's instance ID, which is kept in its data directory. An error without
	// `subset`.
	SubsetKey string `json:"subset_key,omitempty"`

	// Limits the addresses that instances may have. Default: every address, except those that are
	// refused by default when they come from a registry or from DNS.
	Networks *Networks `json:"networks,omitempty"`

	// How an instance is picked for a call. `p2c` (default) takes the less loaded one of two random
	// instances. `round_robin` takes them in turn. `hash` takes always the same one for the same
	// `hash_key`.
	Balance string `json:"balance,omitempty"`

	// The key of calls that go to the same instance, with placeholders, such as
	// `{http.request.header.X-User}`. Requests with an empty key go by `p2c`. Required with `hash`,
	// and an error without it.
	HashKey string `json:"hash_key,omitempty"`

	// What makes the HTTP/2 connections to the instances. `grpc` (default) is grpc-go. `wire` is
	// the gateway's own client, which needs less CPU time for each call. It is new. Both make the
	// same calls, with the same settings. If an instance violates HTTP/2 on a connection of `wire`,
	// new connections to this instance are those of `grpc` for an hour.
	Transport string `json:"transport,omitempty"`

	// When quiet connections are pinged (HTTP/2 keepalive). Default: as often as a gRPC server with
	// default settings tolerates.
	Keepalive *Keepalive `json:"keepalive,omitempty"`

	// The pause between attempts to connect to an instance. Default: from 200ms to 5s.
	Backoff *Backoff `json:"backoff,omitempty"`

	// How often calls that may be executed twice are made again when an instance is unavailable.
	// Default: see Retry.
	Retry *Retry `json:"retry,omitempty"`

	// When an instance gets no calls for a while because calls failed there. Default: see Eject.
	Eject *Eject `json:"eject,omitempty"`

	// Asks the instances about their health (grpc.health.v1). Instances that do not answer SERVING
	// get no new calls. Default: they are not asked.
	HealthCheck *HealthCheck `json:"health_check,omitempty"`

	// The maximum time of an attempt to connect, TLS included. Default: 5s.
	ConnectTimeout caddy.Duration `json:"connect_timeout,omitempty"`

	// The deadline of unary calls to this upstream. The timeout of a route wins over this one, and
	// this one wins over the handler's. A client can shorten the deadline but not extend it.
	// Default: the handler's. Negative: no deadline.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The largest message that an instance may send, in bytes. Default: 4194304 (4 MiB).
	MaxReceiveSize int64 `json:"max_receive_size,omitempty"`

	// Secures the connections. The settings are those of the transport of `reverse_proxy`, except
	// for `except_ports` and `handshake_timeout`. An empty object verifies instances against the
	// system's trust store. Without a `server_name`, certificates must be for the host in the
	// instance's address, or for `localhost` if it is a Unix socket. Default: plaintext.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// The host or host:port that instances see in the pseudo-header `:authority` of every call, as
	// proxies route by it. Certificates are not checked against it. Placeholders such as
	// `{env.SERVICE_HOST}` are resolved when the config is loaded. Default: the `server_name` of
	// `tls`, or else the instance's address, or `localhost` if that is a Unix socket.
	Authority string `json:"authority,omitempty"`

	// How long calls in flight may go on after their instance was deregistered, the upstream was
	// removed from the config, or the process was told to stop. After that they end with
	// UNAVAILABLE. Default: 30s.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// The time within which an instance must be ready after the start of a config. If none is, the
	// config is refused. Until the config has started or was refused, calls to this upstream wait
	// for an instance, within their own deadlines. Default: none. Then a config loads even if every
	// instance is down, and calls get 503 until one is up.
	RequireReady caddy.Duration `json:"require_ready,omitempty"`

	// Whether the last known instances are kept in a file in Caddy's data directory. They let the
	// gateway start while the registry is away. They are used until the registry answers, for at
	// most 24h after its last answer, and shown as stale. This has no effect if the instances are
	// in the config. Default: true.
	Snapshot *bool `json:"snapshot,omitempty"`
}

// Keepalive says when HTTP/2 pings are sent, and how long their answers may take.
type Keepalive struct {
	// The quiet time after which a connection is pinged. A time below 10s counts as 10s. Many
	// servers close connections that are pinged more often than every 5m ("too_many_pings"), so set
	// their enforcement policy before you choose less. Default: 5m10s.
	Time caddy.Duration `json:"time,omitempty"`

	// The maximum time until a ping is answered. After that the connection is closed. Default: 20s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Whether connections without a call in flight are pinged, too. The enforcement policy of the
	// server must permit it. Default: false.
	PermitWithoutStream bool `json:"permit_without_stream,omitempty"`
}

// HealthCheck is active health checking by the standard gRPC health service. An instance that does
// not implement that service counts as healthy.
type HealthCheck struct {
	// The name of the service to ask about. Default: none, which asks about the server as a whole.
	Service string `json:"service,omitempty"`
}

// Backoff is a pause that grows exponentially from Base to Max, with jitter.
type Backoff struct {
	// The first pause. Default: 200ms for connecting, 20ms in `retry`.
	Base caddy.Duration `json:"base,omitempty"`

	// The longest pause. Default: 5s for connecting, 200ms in `retry`. It must not be below `base`.
	Max caddy.Duration `json:"max,omitempty"`
}

// Descriptors say where the schema of an upstream comes from.
type Descriptors struct {
	// The kind of source: `reflection` (default), `protoset` or `proto`.
	Source string `json:"source,omitempty"`

	// How often reflection is repeated. It is always repeated when an instance connects. Default:
	// 1m. Negative: never. An error with `protoset` and `proto`, whose files are watched.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// The files of the schema, which are watched for changes. For `protoset` they are
	// FileDescriptorSets, which `protoc --include_imports --descriptor_set_out` and `buf build -o`
	// write. For `proto` they are .proto files, by their place in the file system or below an
	// import path. Required for both, and an error with `reflection`.
	Files []string `json:"files,omitempty"`

	// For `proto`, the directories of imported .proto files. The well-known types and google/api
	// come with the gateway. Default: the directories of the files.
	ImportPaths []string `json:"import_paths,omitempty"`
}

// Kinds of Descriptors.
const (
	DescriptorsReflection = "reflection"
	DescriptorsProtoset   = "protoset"
	DescriptorsProto      = "proto"
)

// Validate says what is wrong with the upstream on its own. It uses neither files nor the network.
func (u *Upstream) Validate() error {
	if len(u.DiscoverRaw) == 0 {
		return errors.New(`it has no source of instances: "discover" is required`)
	}
	return u.validateSettings()
}

// validateSettings is Validate without the source of instances.
func (u *Upstream) validateSettings() error {
	switch {
	case u.Connections < 0 || u.MaxConnections < 0:
		return errors.New("connections: expected a number above 0")
	case u.MaxConnections > 0 && u.MaxConnections < max(u.Connections, 1):
		return fmt.Errorf("connections: the maximum %d is below the minimum %d", u.MaxConnections, max(u.Connections, 1))
	case u.Transport != "" && u.Transport != pool.TransportGRPC && u.Transport != pool.TransportWire:
		return fmt.Errorf("transport %q: expected %s or %s", u.Transport, pool.TransportGRPC, pool.TransportWire)
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
	if err := validateAuthority(u.Authority); err != nil {
		return fmt.Errorf("authority: %w", err)
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
