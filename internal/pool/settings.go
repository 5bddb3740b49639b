package pool

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"
)

// The balancing policies of Settings.Balance.
const (
	// BalanceP2C draws two endpoints by weight and gives the call to the less loaded one. It is the
	// default.
	BalanceP2C = "p2c"
	// BalanceRoundRobin gives calls to the endpoints in turn. Endpoints with more weight get more
	// turns.
	BalanceRoundRobin = "round_robin"
	// BalanceHash sends calls with equal keys to the same endpoint. See WithHash.
	BalanceHash = "hash"
)

// Control checks an IP address before it is dialled, as net.Dialer.ControlContext does. It returns
// an error to refuse the address.
type Control = func(ctx context.Context, network, address string, c syscall.RawConn) error

// Guard decides which IP addresses may be dialled.
type Guard interface {
	// Control returns the check for one dial to the instance at addr, which may be a host name.
	Control(addr string) Control
}

// Settings are everything that affects connections, and the observer. The zero value of each field
// means its default. Two channels with equal feeds and equal keys are the same channel.
type Settings struct {
	// Connections is the number of connections to each instance. Default: 1.
	Connections int
	// MaxConnections is the maximum number of connections to each instance. More are opened when
	// the others are nearly full of streams. Default: 4, or Connections if that is larger.
	MaxConnections int
	// Balance is the balancing policy: "p2c", "round_robin" or "hash". Default: "p2c".
	Balance string

	// Transport is what makes connections: "grpc" (grpc-go) or "wire" (package rpcwire). Default:
	// "grpc".
	Transport string

	// KeepaliveTime is how long a connection must be silent before it is pinged. Values below 10s
	// count as 10s, which is grpc-go's minimum. Default: 5m10s.
	KeepaliveTime time.Duration
	// KeepaliveTimeout is how long the answer to a ping may take before the connection is closed.
	// It is also the TCP_USER_TIMEOUT, where the system has that. Default: 20s.
	KeepaliveTimeout time.Duration
	// PermitWithoutStream also pings connections without calls. Default: false.
	PermitWithoutStream bool

	// BackoffBase is the pause after the first failed attempt to connect. It grows with each
	// further failure. Default: 200ms.
	BackoffBase time.Duration
	// BackoffMax is the longest pause between attempts to connect. Default: 5s, or BackoffBase if
	// that is longer.
	BackoffMax time.Duration
	// ConnectTimeout limits the TCP, TLS and HTTP/2 handshakes together. Default: 5s.
	ConnectTimeout time.Duration

	// MaxReceiveSize is the maximum size of a received message, in bytes. Default: 4 MiB.
	MaxReceiveSize int

	// DrainTimeout is how long calls in flight may go on after their instance was removed or the
	// channel was retired. Default: 30s.
	DrainTimeout time.Duration
	// Linger is how long a retired channel still accepts late calls. Default: 5s.
	Linger time.Duration

	// RetryAttempts is the maximum number of attempts at an idempotent call, including the first.
	// 1 means no retries. Default: 3.
	RetryAttempts int
	// RetryBackoffBase is the longest pause before the first retry. It doubles with each further
	// retry. Default: 20ms.
	RetryBackoffBase time.Duration
	// RetryBackoffMax is the longest pause before any retry. Default: 200ms, or RetryBackoffBase if
	// that is longer.
	RetryBackoffMax time.Duration

	// EjectFailures is the number of calls in a row that must fail before an instance is ejected.
	// A negative number turns ejection off, even for stalled instances. Default: 5.
	EjectFailures int
	// EjectTime is how long the first ejection of an instance lasts. Further ones last longer.
	// Default: 5s.
	EjectTime time.Duration
	// EjectMaxPercent is the maximum share of the instances that may be ejected at a time, from 1
	// to 100. At least one instance always stays in use. Default: 50.
	EjectMaxPercent int

	// Subset is the maximum number of instances that this gateway connects to. See subset.go. 0
	// means all instances. Default: 0.
	Subset int
	// SubsetKey tells this gateway from others. It is required with Subset.
	SubsetKey string

	// HealthCheck gives calls only to instances that say SERVING (grpc.health.v1). Default: false.
	HealthCheck bool
	// HealthService is the service whose health is asked for. Default: "", the server as a whole.
	HealthService string

	// TLS secures connections. Its ClientHandshake is called for each of them, and may use other
	// certificates each time. If its Info has no ServerName, certificates are checked against the
	// host of the instance's address, which is localhost for a Unix socket. Nil means plaintext.
	TLS credentials.TransportCredentials
	// Authority is the :authority of calls. Certificates are not checked against it. Default: the
	// ServerName of TLS, or the instance's address, which is localhost for a Unix socket.
	Authority string

	// Guard checks the IP addresses that are dialled. Nil allows all addresses.
	Guard Guard
	// Observer is told what happens to instances. It does not affect connections. Nil: nobody is
	// told.
	Observer Observer
}

// Validate returns an error that says what is wrong with the settings, or nil.
func (s Settings) Validate() error {
	_, err := s.withDefaults()
	return err
}

// withDefaults checks the settings and fills in fields that are zero.
func (s Settings) withDefaults() (Settings, error) {
	var errs []error
	duration := func(name string, d *time.Duration, def time.Duration) {
		switch {
		case *d < 0:
			errs = append(errs, fmt.Errorf("%s is %s, expected a positive duration", name, *d))
		case *d == 0:
			*d = def
		}
	}
	number := func(name string, n *int, def int) {
		switch {
		case *n < 0:
			errs = append(errs, fmt.Errorf("%s is %d, expected a positive number", name, *n))
		case *n == 0:
			*n = def
		}
	}
	number("connections", &s.Connections, 1)
	number("max connections", &s.MaxConnections, max(4, s.Connections))
	if s.MaxConnections < s.Connections {
		errs = append(errs, fmt.Errorf("max connections is %d, expected at least the %d connections to start with", s.MaxConnections, s.Connections))
	}
	duration("keepalive time", &s.KeepaliveTime, 5*time.Minute+10*time.Second)
	duration("keepalive timeout", &s.KeepaliveTimeout, 20*time.Second)
	duration("backoff base", &s.BackoffBase, 200*time.Millisecond)
	duration("backoff max", &s.BackoffMax, max(5*time.Second, s.BackoffBase))
	if s.BackoffMax < s.BackoffBase {
		errs = append(errs, fmt.Errorf("backoff max is %s, expected at least the base of %s", s.BackoffMax, s.BackoffBase))
	}
	duration("connect timeout", &s.ConnectTimeout, 5*time.Second)
	duration("drain timeout", &s.DrainTimeout, 30*time.Second)
	duration("linger", &s.Linger, 5*time.Second)
	number("max receive size", &s.MaxReceiveSize, 4<<20)
	number("retry attempts", &s.RetryAttempts, 3)
	duration("retry backoff base", &s.RetryBackoffBase, 20*time.Millisecond)
	duration("retry backoff max", &s.RetryBackoffMax, max(200*time.Millisecond, s.RetryBackoffBase))
	if s.EjectFailures == 0 {
		s.EjectFailures = 5
	}
	duration("eject time", &s.EjectTime, 5*time.Second)
	number("eject max percent", &s.EjectMaxPercent, 50)
	if s.EjectMaxPercent > 100 {
		errs = append(errs, fmt.Errorf("eject max percent is %d, expected 1 to 100", s.EjectMaxPercent))
	}
	switch {
	case s.Subset < 0:
		errs = append(errs, fmt.Errorf("subset is %d, expected a positive number", s.Subset))
	case s.Subset > 0 && s.SubsetKey == "":
		errs = append(errs, errors.New("subset has no key, expected one that tells this gateway from others"))
	}
	switch s.Balance {
	case "":
		s.Balance = BalanceP2C
	case BalanceP2C, BalanceRoundRobin, BalanceHash:
	default:
		errs = append(errs, fmt.Errorf("balance is %q, expected %q, %q or %q", s.Balance, BalanceP2C, BalanceRoundRobin, BalanceHash))
	}
	switch s.Transport {
	case "":
		s.Transport = TransportGRPC
	case TransportGRPC, TransportWire:
	default:
		errs = append(errs, fmt.Errorf("transport is %q, expected %q or %q", s.Transport, TransportGRPC, TransportWire))
	}
	if s.Authority == "" && s.TLS != nil {
		s.Authority = serverName(s.TLS)
	}
	return s, errors.Join(errs...)
}

// serverName is the name that certificates are checked against. "": each instance has its own.
func serverName(tls credentials.TransportCredentials) string {
	return tls.Info().ServerName //nolint:staticcheck // It is deprecated for setting the authority of a whole channel.
}
