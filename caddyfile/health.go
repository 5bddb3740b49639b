package caddyfile

// health parses
//
//	health on | off
//	health {
//		path <path>
//	}
//
// The block switches health checks on, too.
func (p *directive) health(d *dispenser) error {
	h := &p.handler
	got, err := args(d, 0, 1, "on, off or a block")
	if err != nil {
		return err
	}
	on := len(got) == 0 || got[0] == "on"
	if !on && got[0] != "off" {
		return d.Errf("health %q: expected on, off or a block", got[0])
	}
	h.Health = &on
	if err := (options{"path": text(&h.HealthPath, "a path, such as /healthz")}).parse(d, "health"); err != nil {
		return err
	}
	if len(got) == 0 && h.HealthPath == "" {
		return d.Err("health: expected on, off or a block with the option path")
	}
	if err := h.ValidateHealth(); err != nil {
		return d.Errf("health: %w", err)
	}
	return nil
}
