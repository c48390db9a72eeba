package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/fencing/guard"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/vrrp/rawip"
	"github.com/solovip/solovip/vrrp/vip"
	"github.com/solovip/solovip/witness"
)

// settings is a configuration as the daemon needs it.
type settings struct {
	node      node.Config
	config    *config.Config
	self      config.Member
	instances map[string]instanceSettings
	claims    map[string]claimSettings
	scripts   []trackedScript
}

// trackedScript is a script that is run, and the first claim that tracks it.
type trackedScript struct {
	config.Script
	claim string
}

type instanceSettings struct {
	socket    rawip.Config
	addresses []vip.Address
	garp      time.Duration // between two on one interface
	notify    config.Notify
}

type claimSettings struct {
	instances []string
	addresses []vip.Address
	guards    []guard.Config // run only where the claim is held
	always    []guard.Config // run on every node
	notify    config.Notify  // of the sync group
	lifetime  time.Duration  // of addresses that are held without a deadline
	patience  time.Duration  // how long backups certainly wait for an advert
}

// plan turns a configuration into settings for the host with the given addresses.
func plan(cfg *config.Config, host []netip.Addr, incarnation uint64, tokens map[string]arbiter.Token) (*settings, error) {
	s := &settings{
		config:    cfg,
		instances: map[string]instanceSettings{},
		claims:    map[string]claimSettings{},
	}
	s.node = node.Config{Name: cfg.Global.RouterID, Incarnation: incarnation, Mode: arbiter.ModeVRRP, ClearAfter: cfg.Fencing.ClearAfter}
	s.node.Watchdog = map[config.WatchdogMode]node.WatchdogMode{
		config.WatchdogPreferred: node.WatchdogPreferred, config.WatchdogRequired: node.WatchdogRequired,
	}[cfg.Fencing.Watchdog.Mode]
	if cfg.Cluster != nil {
		if err := s.planCluster(host); err != nil {
			return nil, err
		}
	}
	grouped := map[string]bool{}
	for _, g := range cfg.SyncGroups {
		var members []config.Instance
		for _, name := range g.Instances {
			grouped[name] = true
			i := slices.IndexFunc(cfg.Instances, func(in config.Instance) bool { return in.Name == name })
			if i >= 0 {
				members = append(members, cfg.Instances[i])
			}
		}
		if len(members) > 0 {
			s.planClaim(g.Name, true, g.Notify, members, tokens)
		}
	}
	for _, in := range cfg.Instances {
		if !grouped[in.Name] {
			s.planClaim(in.Name, false, config.Notify{}, []config.Instance{in}, tokens)
		}
	}
	slices.SortFunc(s.node.Claims, func(a, b node.ClaimConfig) int { return cmp.Compare(a.Name, b.Name) })
	return s, s.planTiming()
}

// mode is what kind of permission a configuration has.
func mode(cfg *config.Config) arbiter.Mode {
	switch {
	case cfg.Cluster == nil:
		return arbiter.ModeVRRP
	case cfg.Witness != nil:
		return arbiter.ModeLease
	case len(cfg.Cluster.Nodes)+len(cfg.Cluster.Witnesses) >= 3:
		return arbiter.ModeQuorum
	}
	return arbiter.ModeVeto
}

// planCluster finds out which member this host is, and the mode.
func (s *settings) planCluster(host []netip.Addr) error {
	c := s.config.Cluster
	self, isWitness, ok := c.Host(host)
	if !ok {
		return fmt.Errorf("%v: no node of cluster %s has an address of this host (%s): add this host to the cluster block, or give it the address",
			c.Pos, c.Name, addressList(host))
	}
	if isWitness {
		return fmt.Errorf("%v: this host (%s, %v) is a witness of cluster %s: run `solovip witness` here, not `solovip node`", self.Pos, self.Name, self.Addr, c.Name)
	}
	s.self = self
	s.node.Name = self.Name
	for _, m := range c.Nodes {
		if m.Name != self.Name {
			s.node.Peers = append(s.node.Peers, m.Name)
		}
	}
	for _, m := range c.Witnesses {
		s.node.Witnesses = append(s.node.Witnesses, m.Name)
	}
	slices.Sort(s.node.Peers)
	slices.Sort(s.node.Witnesses)
	s.node.Mode = mode(s.config)
	s.node.Isolation = arbiter.IsolationHold
	if s.config.Fencing.OnIsolation == config.IsolationClaim {
		s.node.Isolation = arbiter.IsolationClaim
	}
	if s.config.Fencing.OnIsolation == config.IsolationFence {
		s.node.Isolation = arbiter.IsolationFence
	}
	s.planAgents()
	s.node.Reference = s.config.Fencing.Reference.IsValid() && s.node.Mode == arbiter.ModeVeto
	return nil
}

func addressList(addrs []netip.Addr) string {
	var parts []string
	for _, a := range addrs {
		if a.Is4() && !a.IsLoopback() {
			parts = append(parts, a.String())
		}
	}
	return strings.Join(parts, ", ")
}

// planClaim adds one claim with its instances and guards.
func (s *settings) planClaim(name string, group bool, notify config.Notify, members []config.Instance, tokens map[string]arbiter.Token) {
	c := node.ClaimConfig{Name: name, Group: group, Token: tokens[name]}
	set := claimSettings{notify: notify}
	for _, in := range members {
		is := planInstance(in, s.config.Global)
		s.instances[in.Name] = is
		set.addresses = append(set.addresses, is.addresses...)
		set.lifetime = max(set.lifetime, node.FreeLifetime(in.AdvertInt, in.DownAdverts))
		if wait := in.AdvertInt * time.Duration(max(in.DownAdverts-1, 1)); set.patience == 0 || wait < set.patience {
			set.patience = wait
		}
		c.Instances = append(c.Instances, s.nodeInstance(name, in))
	}
	for _, g := range s.config.Guards {
		if g.Protects != name {
			continue
		}
		gc := guard.Config{
			Name: g.Name, Systemd: g.Systemd, StopTimeout: g.StopTimeout, StartTimeout: g.StartTimeout, PIDFile: g.PIDFile,
			Start: guard.Command{Args: g.Start.Args}, Stop: guard.Command{Args: g.StopCmd.Args}, Status: guard.Command{Args: g.Status.Args},
			Health: guard.Command{Args: g.Health.Args}, HealthInterval: g.HealthInterval, HealthTimeout: g.HealthTimeout, HealthFall: g.HealthFall,
		}
		if tries := g.Restarts + 1; tries > 0 && (c.GuardTries == 0 || tries < c.GuardTries) {
			c.GuardTries = tries // they are started anew together, so the least patient counts
		}
		if g.Always {
			c.GuardedAlways = true
			set.always = append(set.always, gc)
			continue
		}
		c.Guarded = true
		c.GuardLimit += g.StopTimeout + guardKill // they stop one after the other
		set.guards = append(set.guards, gc)
	}
	for _, in := range members {
		set.instances = append(set.instances, in.Name)
		c.Version += fmt.Sprintf("%+v", s.instances[in.Name].socket)
	}
	c.Version += fmt.Sprintf("%v %+v %+v", set.addresses, set.guards, set.always)
	s.claims[name] = set
	s.node.Claims = append(s.node.Claims, c)
}

// guardKill is how long the kernel may take to end a killed service.
const guardKill = 500 * time.Millisecond

func planInstance(in config.Instance, global config.Global) instanceSettings {
	is := instanceSettings{
		socket: rawip.Config{
			Interface: in.Interface, Source: in.UnicastSrc, Group: in.McastGroup,
			Peers: in.UnicastPeers, VRID: in.VRID,
		},
		garp:   in.GARP.Interval,
		notify: in.Notify,
	}
	if !is.socket.Source.IsValid() {
		is.socket.Source = in.McastSrc
	}
	if !is.socket.Group.IsValid() {
		is.socket.Group = global.McastGroup
	}
	for _, a := range slices.Concat(in.Addresses, in.Excluded) {
		is.addresses = append(is.addresses, vip.Address{
			Prefix: a.Prefix, Interface: cmp.Or(a.Interface, in.Interface), Label: a.Label, Broadcast: a.Broadcast, Scope: a.Scope,
		})
	}
	return is
}

// nodeInstance returns what the pure node needs of an instance.
func (s *settings) nodeInstance(claim string, in config.Instance) node.InstanceConfig {
	v := vrrp.Config{
		Name: in.Name, VRID: vrrp.VRID(in.VRID), Version: vrrp.Version(in.Version), Priority: in.Priority,
		AdvertInterval: in.AdvertInt, Preempt: !in.NoPreempt, PreemptDelay: in.PreemptDelay,
		InitialMaster: in.State == "MASTER", AuthPass: in.AuthPass, DownAdverts: in.DownAdverts,
		SkipAddressCheck: in.SkipAddrs,
		GARP: vrrp.GARP{
			Delay: in.GARP.Delay, Repeat: in.GARP.Repeat,
			LowerPrioDelay: in.GARP.LowerPrioDelay, LowerPrioRepeat: in.GARP.LowerPrioRepeat,
			Refresh: in.GARP.Refresh, RefreshRepeat: in.GARP.RefreshRepeat,
		},
	}
	for _, a := range in.Addresses {
		v.Addresses = append(v.Addresses, a.Prefix.Addr())
	}
	nc := node.InstanceConfig{VRRP: v}
	if !in.NoTrackLink && in.Interface != "" {
		nc.Interfaces = append(nc.Interfaces, node.Track{Name: in.Interface})
	}
	for _, t := range in.TrackIfaces {
		nc.Interfaces = append(nc.Interfaces, node.Track{Name: t.Name, Weight: t.Weight, Reverse: t.Reverse})
	}
	for _, t := range in.TrackScripts {
		i := slices.IndexFunc(s.config.Scripts, func(sc config.Script) bool { return sc.Name == t.Name })
		if i < 0 {
			continue // the configuration has warned: keepalived ignores it too
		}
		sc := s.config.Scripts[i]
		track := node.Track{Name: t.Name, Weight: sc.Weight, Reverse: sc.Reverse}
		if t.HasWeight {
			track.Weight, track.Reverse = t.Weight, t.Reverse
		}
		nc.Scripts = append(nc.Scripts, track)
		if !slices.ContainsFunc(s.scripts, func(o trackedScript) bool { return o.Name == sc.Name }) {
			s.scripts = append(s.scripts, trackedScript{sc, claim})
		}
	}
	return nc
}

// planTiming fits the timing of permission to the instances.
func (s *settings) planTiming() error {
	if s.node.Mode != arbiter.ModeLease && s.node.Mode != arbiter.ModeQuorum {
		return nil
	}
	t, err := Timing(s.config)
	if err != nil {
		return err
	}
	s.node.Timing, s.node.ByLifetime = t, s.config.Fencing.Gate == config.GateLifetime
	return nil
}

// Timing returns the timing of permission that a configuration asks for, or the
// inequality that it breaks.
func Timing(cfg *config.Config) (witness.Timing, error) {
	want := config.Timing{Name: "auto"}
	if cfg.Witness != nil {
		want = cfg.Witness.Timing
	}
	late, byLifetime := witness.Fast().Late, cfg.Fencing.Gate == config.GateLifetime
	if byLifetime {
		late = vip.LifetimeLate
	}
	var t witness.Timing
	switch want.Name {
	case "fast":
		t = witness.Fast()
	case "wan":
		t = witness.WAN()
	case "custom":
		t = witness.Timing{Renew: want.Renew, Hold: want.Hold, Wait: want.Wait, Late: late}
	default:
		interval, adverts := time.Second, vrrpDownAdverts
		if len(cfg.Instances) > 0 {
			shortest := slices.MinFunc(cfg.Instances, func(a, b config.Instance) int {
				return cmp.Compare(a.AdvertInt*time.Duration(a.DownAdverts), b.AdvertInt*time.Duration(b.DownAdverts))
			})
			interval, adverts = shortest.AdvertInt, shortest.DownAdverts
		}
		if t = witness.Auto(interval, adverts); byLifetime {
			t = witness.AutoByLifetime(interval, adverts, late)
		}
	}
	t.Late = late
	err := t.Check()
	if err == nil && byLifetime && t.Hold < node.ShortestLifetime {
		err = fmt.Errorf("timing %v: with gate lifetime hold must be %v at least, as lifetimes are whole seconds", t, node.ShortestLifetime)
	}
	if err != nil {
		return t, fmt.Errorf("%v: %w", want.Pos, err)
	}
	return t, nil
}

const vrrpDownAdverts = 3

// Takeover is when this node is expected to have the addresses of an instance after their holder
// has lost power, and when it would by VRRP alone.
type Takeover struct {
	Instance            string
	Expected, VRRPAlone node.Window
}

// Takeovers returns what the timing t comes to for each instance of the configuration.
func Takeovers(cfg *config.Config, t witness.Timing) []Takeover {
	var all []Takeover
	for _, in := range cfg.Instances {
		down := vrrp.MasterDownInterval(vrrp.Version(in.Version), in.Priority, in.AdvertInt, in.DownAdverts)
		all = append(all, Takeover{
			Instance: in.Name,
			Expected: node.TakeOver(mode(cfg), t, in.AdvertInt, down), VRRPAlone: node.TakeOver(arbiter.ModeVRRP, t, in.AdvertInt, down),
		})
	}
	return all
}

// Watchdog returns how long the watchdog of a cluster's nodes counts by this
// configuration, and how long it may at the most; most is 0 where nothing bounds it.
func Watchdog(cfg *config.Config) (timeout, most time.Duration, err error) {
	s, err := plan(cfg, []netip.Addr{cfg.Cluster.Nodes[0].Addr}, 0, nil) // all nodes have the same guards
	if err != nil {
		return 0, 0, err
	}
	timeout, most = s.node.WatchdogTimeout()
	return timeout, most, nil
}

// errCluster says that a reload would change what only a restart can.
var errCluster = errors.New("the cluster, witness or fencing block has changed: restart solovip for that; nothing was changed")

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
