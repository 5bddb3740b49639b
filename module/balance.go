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
	// How often a call is made at most, the first time included. Default: 3. 1: never again.
	Attempts int `json:"attempts,omitempty"`

	// The pause before the next attempt, of which a random part is waited. Default: 20ms to 200ms.
	Backoff *Backoff `json:"backoff,omitempty"`

	// How a call must have ended to be made again: `unavailable`, which is also the default.
	On []string `json:"on,omitempty"`
}

// Eject is passive health checking: which instances get no calls for a while because calls failed there. One that stalled, so that nothing comes from it
// though calls wait, not even the answer to a health check, is ejected as well, until it answers.
type Eject struct {
	// How many calls in a row must end with UNAVAILABLE, or with DEADLINE_EXCEEDED after a second or more. Default: 5. Negative: nothing
	// is ejected, for whatever reason.
	Failures int `json:"failures,omitempty"`

	// For how long, the first time; the n-th time in a row it is n times that, up to ten. Default: 5s.
	BaseTime caddy.Duration `json:"base_time,omitempty"`

	// How many of the instances may be ejected at a time, in percent. The last one never is. Default: 50.
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
