package module

import (
	"errors"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// applySubset sets how many instances are used, and the key of this gateway.
func (u *Upstream) applySubset(s *pool.Settings) (err error) {
	if u.Subset == 0 {
		return nil
	}
	s.Subset = u.Subset
	if s.SubsetKey, err = caddy.NewReplacer().ReplaceOrErr(u.SubsetKey, true, true); err != nil {
		return fmt.Errorf("subset_key: %w", err)
	}
	if s.SubsetKey != "" {
		return nil
	}
	s.SubsetKey = gatewayIdentity(os.Hostname, caddy.InstanceID)
	if s.SubsetKey == "" {
		return errors.New("subset: this machine has no name and Caddy no instance ID to tell gateways apart: expected a subset_key")
	}
	return nil
}

// gatewayIdentity returns a text that tells this gateway from others and stays the same over
// restarts. Gateways may share a data directory, and so Caddy's instance ID, or they may share a
// host name. They rarely share both.
func gatewayIdentity[ID fmt.Stringer](hostname func() (string, error), instanceID func() (ID, error)) string {
	var host, instance string
	if name, err := hostname(); err == nil {
		host = name
	}
	// If an ID cannot be stored, the next start makes another one.
	if id, err := instanceID(); err == nil {
		instance = id.String()
	}
	if host == "" && instance == "" {
		return ""
	}
	return host + "/" + instance
}

func (u *Upstream) validateSubset() error {
	switch {
	case u.Subset < 0:
		return fmt.Errorf("subset %d: expected a number above 0", u.Subset)
	case u.Subset == 0 && u.SubsetKey != "":
		return errors.New("subset_key is for subset")
	}
	return nil
}
