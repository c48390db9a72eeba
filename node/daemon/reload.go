package daemon

import (
	"reflect"
	"slices"

	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
)

// planReload reads the configuration again and works out the settings it asks for.
func (d *daemon) planReload() (*settings, error) {
	cfg, err := loadConfig(d.opt)
	if err != nil {
		return nil, err
	}
	host, err := vip.LocalAddresses()
	if err != nil {
		return nil, err
	}
	next, err := plan(cfg, host, d.settings.node.Incarnation, d.store.tokens())
	if err != nil {
		return nil, err
	}
	d.setSources(next)
	if !sameCluster(d.settings, next) {
		return nil, errCluster
	}
	return next, nil
}

// sameCluster reports whether everything but the claims is the same.
func sameCluster(a, b *settings) bool {
	x, y := a.node, b.node
	x.Claims, x.Left, x.Standby, x.Former, x.Kept = nil, false, false, nil, nil
	y.Claims, y.Left, y.Standby, y.Former, y.Kept = nil, false, false, nil, nil
	x.Fenced, y.Fenced, x.Trusted, y.Trusted = nil, nil, 0, 0
	x.ShotJitter, y.ShotJitter = 0, 0
	if !reflect.DeepEqual(x, y) {
		return false
	}
	return a.config.Fencing.Watchdog == b.config.Fencing.Watchdog && a.node.Mode == b.node.Mode && reflect.DeepEqual(endpoints(a), endpoints(b)) && keyFile(a) == keyFile(b)
}

func endpoints(s *settings) []string {
	if w := s.config.Witness; w != nil {
		return append([]string{w.CAFile, w.CertFile, w.CertKeyFile}, w.Endpoints...)
	}
	return nil
}

func keyFile(s *settings) string {
	if c := s.config.Cluster; c != nil {
		return c.KeyFile
	}
	return ""
}

// retired is what a claim that a reload removes or changes goes on with until it is let go.
type retired struct {
	claim     claimSettings
	instances map[string]instanceSettings
}

// adopt runs by new settings. Claims that changed are let go by what they were.
func (d *daemon) adopt(next *settings) (stopped bool) {
	for _, old := range d.settings.node.Claims {
		same := slices.ContainsFunc(next.node.Claims, func(c node.ClaimConfig) bool { return c.Same(old) })
		if _, waiting := d.retired[old.Name]; same || waiting {
			continue
		}
		r := retired{claim: d.settings.claims[old.Name], instances: map[string]instanceSettings{}}
		for _, name := range r.claim.instances {
			r.instances[name] = d.settings.instances[name]
		}
		d.retired[old.Name] = r
	}
	d.settings = next
	if err := d.hush(); err != nil {
		d.log.Error("an address that somebody puts on by hand could answer for a moment", "err", err)
	}
	d.startScripts(next.scripts)
	return d.step(node.Reconfigure{Claims: next.node.Claims})
}

// claim returns the settings that the claim runs by now.
func (d *daemon) claim(name string) claimSettings {
	if r, ok := d.retired[name]; ok {
		return r.claim
	}
	return d.settings.claims[name]
}

// instance returns the settings that the instance runs by now.
func (d *daemon) instance(name string) instanceSettings {
	for _, r := range d.retired {
		if in, ok := r.instances[name]; ok {
			return in
		}
	}
	return d.settings.instances[name]
}

// begin opens what a claim needs.
func (d *daemon) begin(name string) {
	set := d.claim(name)
	for _, in := range set.instances {
		d.openAdverts(in)
	}
	d.guards[name] = d.openGuards(name, set)
	d.observe(name)
}

// end closes what a claim needed.
func (d *daemon) end(name string) {
	for _, in := range d.claim(name).instances {
		if a := d.adverts[in]; a != nil {
			a.close()
			delete(d.adverts, in)
		}
	}
	d.guards[name].close()
	d.observers[name]()
	delete(d.observers, name)
	delete(d.guards, name)
	delete(d.retired, name)
}
