package module

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// Retry says how often calls that may be executed twice are made again, at another instance.
type Retry struct {
	// The maximum number of times that a call is made, including the first. Default: 3. 1: no call
	// is made again.
	Attempts int `json:"attempts,omitempty"`

	// The pause before the next attempt. A random part of it is waited. Default: from 20ms to
	// 200ms.
	Backoff *Backoff `json:"backoff,omitempty"`

	// The errors after which a call is made again. Default, and the only choice: `unavailable`.
	On []string `json:"on,omitempty"`
}

// Eject is passive health checking: an instance gets no calls for a while because calls failed
// there. A stalled instance is ejected, too, until it answers. It is stalled if nothing comes from
// it while calls wait, not even the answer to a health check.
type Eject struct {
	// The number of calls in a row that must fail. A call fails with UNAVAILABLE, or with
	// DEADLINE_EXCEEDED after a second or more. Default: 5. Negative: no instance is ejected, not
	// even a stalled one.
	Failures int `json:"failures,omitempty"`

	// How long an instance is ejected the first time. The n-th time in a row is n times that, up to
	// ten times. Default: 5s.
	BaseTime caddy.Duration `json:"base_time,omitempty"`

	// The maximum percentage of the instances that may be ejected at a time, from 1 to 100. The
	// last instance is never ejected. Default: 50.
	MaxPercent int `json:"max_percent,omitempty"`
}

// RetryOnUnavailable is the only value of Retry.On.
const RetryOnUnavailable = "unavailable"

func (r *Retry) validate() error {
	if r == nil {
		return nil
	}
	if r.Attempts < 0 {
		return fmt.Errorf("attempts %d: expected a number above 0", r.Attempts)
	}
	for _, on := range r.On {
		if on != RetryOnUnavailable {
			return fmt.Errorf("on %q: expected %s", on, RetryOnUnavailable)
		}
	}
	return r.Backoff.validate()
}

func (r *Retry) apply(s *pool.Settings) {
	if r == nil {
		return
	}
	s.RetryAttempts = r.Attempts
	if b := r.Backoff; b != nil {
		s.RetryBackoffBase, s.RetryBackoffMax = time.Duration(b.Base), time.Duration(b.Max)
	}
}

func (e *Eject) validate() error {
	switch {
	case e == nil:
		return nil
	case e.BaseTime < 0:
		return errors.New("base_time: expected a duration above 0")
	case e.MaxPercent < 0 || e.MaxPercent > 100:
		return fmt.Errorf("max_percent %d: expected 1 to 100", e.MaxPercent)
	}
	return nil
}

func (e *Eject) apply(s *pool.Settings) {
	if e != nil {
		s.EjectFailures, s.EjectTime, s.EjectMaxPercent = e.Failures, time.Duration(e.BaseTime), e.MaxPercent
	}
}

func (b *Backoff) validate() error {
	if b != nil && (b.Base < 0 || b.Max < 0 || b.Max > 0 && b.Base > b.Max) {
		return errors.New("backoff: expected a base above 0 and a maximum not below it")
	}
	return nil
}

func (u *Upstream) validateBalance() error {
	switch u.Balance {
	case "", pool.BalanceP2C, pool.BalanceRoundRobin:
		if u.HashKey != "" {
			return fmt.Errorf("hash_key is for balance %s", pool.BalanceHash)
		}
		return nil
	case pool.BalanceHash:
		if !strings.Contains(u.HashKey, "{") {
			return fmt.Errorf("balance hash %q: expected a placeholder, such as {http.request.header.X-User}", u.HashKey)
		}
		return nil
	default:
		return fmt.Errorf("balance %q: expected p2c, round_robin or hash", u.Balance)
	}
}
