package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// The balancing policies of Settings.Balance.
const (
	// BalanceP2C takes two endpoints by weight and gives the call to the less loaded one. The
	// default.
	BalanceP2C = "p2c"
	// BalanceRoundRobin gives calls to the endpoints in turn, more often to those with more weight.
	BalanceRoundRobin = "round_robin"
	// BalanceHash sends calls with equal keys to the same endpoint, see WithHash.
	BalanceHash = "hash"
)

// Control checks an IP address before it is dialled, as net.Dialer.ControlContext does. An error
// refuses it.
type Control = func(ctx context.Context, network, address string, c syscall.RawConn) error

// Guard decides which IP addresses may be dialled.
type Guard interface {
	// Control returns the check for one dial to the instance at addr, which may be a host name.
	Control(addr string) Control
}

// Settings are everything that affects connections. Two channels with equal feeds and equal keys
// are the same channel. The zero value of each field means its default.
type Settings struct {
	Connections, MaxConnections int    // per instance; default 1, 4
	Balance                     string // "p2c" (default), "round_robin", "hash"
	// Default 5m10s; less than 10s counts as 10s (grpc-go's floor).
	KeepaliveTime time.Duration
	// Default 20s; also the TCP_USER_TIMEOUT, where the system has it.
	KeepaliveTimeout        time.Duration
	PermitWithoutStream     bool
	BackoffBase, BackoffMax time.Duration // default 200ms, 5s
	ConnectTimeout          time.Duration // TCP, TLS and HTTP/2 handshakes together; default 5s
	MaxReceiveSize          int           // bytes, default 4 MiB
	DrainTimeout            time.Duration // default 30s
	// How long a retired channel waits for late calls; default 5s.
	Linger time.Duration
	// Of idempotent calls, the first one included; default 3, 1: no retries.
	RetryAttempts    int
	RetryBackoffBase time.Duration // before the first retry, doubling; default 20ms
	RetryBackoffMax  time.Duration // default 200ms
	// Calls in a row that fail before an instance is ejected; default 5, negative: never, nor when
	// it stalls.
	EjectFailures int
	EjectTime     time.Duration // for how long, the first time; default 5s
	// Of the instances, 1 to 100; default 50. At least one is never ejected.
	EjectMaxPercent int
	// Of how many instances connections are kept at most, see subset.go; 0: of all.
	Subset int
	// What tells this gateway from others; needed with Subset.
	SubsetKey string
	// Only instances that say SERVING get calls (grpc.health.v1).
	HealthCheck   bool
	HealthService string // that is asked for; "": the server as a whole
	// Nil: plaintext. It is cloned. Without a ServerName certificates are checked against the one
	// below.
	TLS *tls.Config
	// :authority, default the name in TLS, else the instance's address.
	ServerName string
	// Guard checks the IP addresses that are dialled. Nil: all may be dialled.
	Guard Guard
	// Told what happens to instances, which is no matter of connections; nil: nobody is.
	Observer Observer
}

// Validate says what is wrong with the settings.
func (s Settings) Validate() error {
	_, err := s.withDefaults()
	return err
}

// withDefaults checks the settings and fills in what was left at zero.
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
	if s.TLS != nil {
		s.TLS = s.TLS.Clone()
	}
	if s.ServerName == "" && s.TLS != nil {
		s.ServerName = s.TLS.ServerName
	}
	return s, errors.Join(errs...)
}
