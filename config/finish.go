package config

import (
	"net/netip"
	"time"
)

// maxAdvertV3 is the longest interval that a version 3 advert can carry: 12 bits of
// hundredths of a second (RFC 9568 section 5.2.7).
const maxAdvertV3 = 4095 * 10 * time.Millisecond

// finishInstances fills in what the instances take from elsewhere, and settles what in
// them does not go together as keepalived does.
func (l *loader) finishInstances() {
	for _, d := range l.drafts {
		l.finishElection(d)
		l.finishVersion(d)
		l.finishTransport(d)
		l.finishAddresses(d)
		l.finishTracks(d)
		d.GARP = d.garp.over(l.garp)
		l.cfg.Instances = append(l.cfg.Instances, d.Instance)
	}
}

// finishElection settles state, priority and preemption.
func (l *loader) finishElection(d *draft) {
	if d.vrid.Pos.IsZero() {
		l.fail(d.name, "write virtual_router_id and a number from 1 to 255, the same on all nodes", "vrrp_instance %s has no virtual_router_id: keepalived drops it", quote(d.Name))
	}
	switch {
	case !d.priority.Pos.IsZero():
		if d.Priority == 255 && d.state.Pos.IsZero() {
			d.State = "MASTER"
		}
	case d.State == "MASTER":
		d.Priority = 255
		l.warn(d.state, "write a priority", "state MASTER without a priority: keepalived makes the instance the address owner, with priority 255")
	default:
		d.Priority = 100
	}
	if d.NoPreempt && d.State == "MASTER" && d.Priority != 255 {
		d.NoPreempt = false
		l.warn(d.noPre, "write state BACKUP on all nodes", "nopreempt does not work with state MASTER: it is ignored")
	}
	if d.NoPreempt && d.Priority == 255 {
		d.NoPreempt = false
		l.warn(d.noPre, "take it out, or lower the priority", "nopreempt does not work with priority 255: it is ignored")
	}
	if d.PreemptDelay > 0 {
		why := ""
		switch {
		case d.NoPreempt:
			why = "nopreempt"
		case d.State == "MASTER":
			why = "state MASTER"
		}
		if why != "" {
			d.PreemptDelay = 0
			l.warn(d.delay, "take one of the two out", "preempt_delay does not work with %s: it is ignored", why)
		}
	}
}

// finishVersion settles the version, and what depends on it: the interval that adverts can
// carry, and authentication.
func (l *loader) finishVersion(d *draft) {
	if d.Version == 0 {
		d.Version = l.cfg.Global.Version
	}
	if d.is6() && d.Version != 3 {
		d.Version = 3
		if !d.version.Pos.IsZero() {
			l.warn(d.version, "write version 3", "IPv6 needs version 3: it is used")
		}
	}
	if given := d.AdvertInt; d.Version == 2 {
		d.AdvertInt = max(given.Round(time.Second), time.Second)
		if d.AdvertInt != given {
			l.warn(d.advert, "write whole seconds, or version 3", "version 2 adverts count whole seconds: advert_int %s is used", inSeconds(d.AdvertInt))
		}
	} else {
		d.AdvertInt = min(given.Round(10*time.Millisecond), maxAdvertV3)
		if d.AdvertInt != given {
			l.warn(d.advert, "write hundredths of a second, 40.95 at most", "version 3 adverts count hundredths of a second, up to 40.95 seconds: advert_int %s is used", inSeconds(d.AdvertInt))
		}
	}
	switch {
	case d.auth.Pos.IsZero():
		d.AuthPass = ""
	case d.Version == 3:
		l.warn(d.auth, "take the block out, or use version 2", "VRRP version 3 has no authentication: the block is ignored")
		d.AuthPass = ""
	case d.authPass && d.AuthPass == "":
		l.warn(d.auth, "write auth_pass and up to 8 characters", "authentication without a password: the block is ignored")
	case !d.authPass && d.AuthPass != "":
		l.warn(d.auth, "write auth_type PASS", "auth_pass without auth_type PASS: adverts have no authentication")
		d.AuthPass = ""
	}
}

// is6 reports whether the instance is one for IPv6: the first address decides.
func (d *draft) is6() bool {
	if len(d.Addresses) > 0 {
		return d.Addresses[0].Prefix.Addr().Is6()
	}
	return len(d.UnicastPeers) > 0 && d.UnicastPeers[0].Is6()
}

// finishTransport settles how adverts are sent.
func (l *loader) finishTransport(d *draft) {
	if d.Interface == "" && len(d.UnicastPeers) == 0 {
		l.fail(d.name, "write interface and the name of the interface that adverts go out of", "vrrp_instance %s has no interface: keepalived drops it", quote(d.Name))
	}
	if len(d.UnicastPeers) == 0 && !d.unicast.Pos.IsZero() {
		l.warn(d.unicast, "write unicast_peer { ... } with the address of each other node", "unicast without a peer: adverts are sent by multicast")
		if !d.McastSrc.IsValid() {
			d.McastSrc = d.UnicastSrc
		}
		d.UnicastSrc = netip.Addr{}
	}
	if len(d.UnicastPeers) > 0 && !d.UnicastSrc.IsValid() {
		d.UnicastSrc = d.McastSrc
	}
	group := l.cfg.Global.McastGroup
	if d.is6() {
		group = l.cfg.Global.McastGroup6
	}
	if d.McastGroup.IsValid() && d.McastGroup.Is6() != group.Is6() {
		l.warn(d.name, "write a group of the family of the addresses", "mcast_dst_ip %s is not of the family of the addresses: %s is used", d.McastGroup, group)
		d.McastGroup = group
	}
	if !d.McastGroup.IsValid() {
		d.McastGroup = group
	}
}

// finishAddresses fills in the interfaces of the addresses.
func (l *loader) finishAddresses(d *draft) {
	iface := d.Interface
	if iface == "" {
		iface = l.cfg.Global.DefaultIface
	}
	for _, list := range [][]Address{d.Addresses, d.Excluded} {
		for i := range list {
			if list[i].Interface == "" {
				list[i].Interface = iface
			}
		}
	}
	if len(d.Addresses)+len(d.Excluded) == 0 && !d.noVIP {
		l.warn(d.name, "write virtual_ipaddress { ... }, or no_virtual_ipaddress", "vrrp_instance %s has no virtual address", quote(d.Name))
	}
}
