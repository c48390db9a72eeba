package settings

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lvs"
)

// Settings is what a configuration says of virtual servers.
type Settings struct {
	LVS lvs.Config
	// Checks are all checks, each once: what is checked alike for several real servers is
	// one check.
	Checks map[lvs.CheckID]config.Checker

	servers    map[string]config.VirtualServer // by their names in LVS
	scriptUser string                          // of scripts that name none
}

// New returns the settings of a configuration without errors. LVS.Overrides is left to be
// filled in.
func New(cfg *config.Config) Settings {
	s := Settings{
		Checks: make(map[lvs.CheckID]config.Checker), servers: make(map[string]config.VirtualServer), scriptUser: cfg.Global.ScriptUser,
		LVS: lvs.Config{
			Timeouts: lvs.Timeouts(cfg.LVS.Timeouts), Flush: cfg.LVS.Flush, InitNotifies: cfg.LVS.InitNotifies,
		},
	}
	switch cfg.LVS.FlushOnStop {
	case config.FlushOwn:
		s.LVS.OnStop = lvs.DeleteEach
	case config.FlushServices:
		s.LVS.OnStop = lvs.DeleteServices
	case config.FlushAll:
		s.LVS.OnStop = lvs.FlushAll
	}
	if d := cfg.LVS.Sync; d != nil {
		s.LVS.Sync = &lvs.Sync{Instance: d.Instance, Daemon: lvs.Daemon{
			Interface: d.Interface, ID: d.ID, MaxLen: d.MaxLen, Port: d.Port, TTL: d.TTL, Group: d.Group,
		}}
	}
	for _, v := range cfg.VirtualServers {
		server := s.server(v)
		s.servers[server.Name] = v
		s.LVS.Servers = append(s.LVS.Servers, server)
	}
	return s
}

// Script returns the script that a notification runs, with the user that it runs as, if there is one.
func (s Settings) Script(n lvs.Notify) (config.Command, bool) {
	v := s.servers[n.Server]
	var c config.Command
	switch n.What {
	case lvs.QuorumUp:
		c = v.QuorumUp
	case lvs.QuorumDown:
		c = v.QuorumDown
	case lvs.RealUp, lvs.RealDown:
		for _, r := range v.RealServers {
			if r.Addr != n.Real {
				continue
			}
			if c = r.NotifyUp; n.What == lvs.RealDown {
				c = r.NotifyDown
			}
		}
	}
	c.User = cmp.Or(c.User, s.scriptUser)
	return c, len(c.Args) > 0
}

// server makes a virtual server.
func (s Settings) server(v config.VirtualServer) lvs.VirtualServer {
	out := lvs.VirtualServer{
		Name: v.Name, Quorum: v.Quorum, Hysteresis: v.Hysteresis, Omega: v.Omega, Follows: v.HASuspend, Group: v.Group != "",
		Service: lvs.Service{Scheduler: v.Scheduler, Persistence: v.Persistence},
	}
	if v.Protocol != 0 {
		out.Name += " " + v.Protocol.String() // one address may have both TCP and UDP
	}
	if v.Persistence != 0 {
		out.Service.Granularity, out.Service.Engine = v.Granularity, v.Engine // without meaning otherwise
	}
	if v.OnePacket {
		out.Service.Flags |= lvs.OnePacket
	}
	for from, to := range map[config.SchedFlags]lvs.Flags{
		config.SchedFlag1: lvs.SchedFlag1, config.SchedFlag2: lvs.SchedFlag2, config.SchedFlag3: lvs.SchedFlag3,
	} {
		if v.SchedFlags&from != 0 {
			out.Service.Flags |= to
		}
	}
	for _, a := range v.Services {
		key := lvs.ServiceKey{FWMark: a.FWMark, IPv6: a.IPv6}
		if a.FWMark == 0 {
			key = lvs.AddressKey(lvs.Protocol(v.Protocol), a.Addr)
		}
		out.Keys = append(out.Keys, key)
	}
	if v.Sorry != nil {
		out.Sorry = &lvs.Sorry{Addr: v.Sorry.Addr, Forwarding: forwarding(v.Sorry.Forwarding), Inhibit: v.Sorry.Inhibit}
	}
	for _, r := range v.RealServers {
		out.Reals = append(out.Reals, s.realServer(r))
	}
	return out
}

func (s Settings) realServer(r config.RealServer) lvs.RealServer {
	out := lvs.RealServer{
		Addr: r.Addr, Forwarding: forwarding(r.Forwarding), Weight: r.Weight, Upper: r.UpperThreshold, Lower: r.LowerThreshold,
		Inhibit: r.Inhibit, SlowStart: r.SlowStart,
	}
	for _, c := range r.Checkers {
		if misc, ok := c.Check.(config.MiscCheck); ok {
			misc.User = cmp.Or(misc.User, s.scriptUser) // another user makes it another check
			c.Check = misc
		}
		id := ID(c)
		s.Checks[id] = c
		out.Checks = append(out.Checks, lvs.Check{ID: id, Alpha: c.Alpha})
	}
	return out
}

// forwarding makes a forwarding; the names of both have the same order.
func forwarding(f config.Forwarding) lvs.Forwarding {
	return lvs.Forwarding{
		Method: lvs.Method(f.Method), Tunnel: lvs.Tunnel(f.Tunnel), Port: f.Port, Checksum: lvs.Checksum(f.Checksum),
	}
}

// ID returns the id of a check: what it does and to whom, for people, and a hash of all
// its settings. Two checks have the same id if they find the same at the same intervals,
// wherever they are written. Alpha is no setting of the check, but of who has it.
func ID(c config.Checker) lvs.CheckID {
	c.Alpha = false
	text, err := json.Marshal(c)
	var value any
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err == nil {
		text, err = json.Marshal(withoutPlaces(value))
	}
	if err != nil {
		panic("settings: a checker without a JSON form: " + err.Error())
	}
	// The text of an address and port without an address has no port.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", c.Check.Keyword(), text, c.Bind.Port()))
	return lvs.CheckID(fmt.Sprintf("%s %s #%s", c.Check.Keyword(), about(c), hex.EncodeToString(sum[:4])))
}

// about returns what a check is about, for people.
func about(c config.Checker) string {
	switch check := c.Check.(type) {
	case config.MiscCheck:
		return check.Command.Text
	case config.FileCheck:
		return check.File.Name
	case config.BFDCheck:
		return check.Name
	case config.PingCheck:
		return c.Target.Addr().String()
	case config.TCPCheck, config.HTTPCheck, config.SMTPCheck, config.DNSCheck, config.UDPCheck:
	}
	if c.Target == (netip.AddrPort{}) {
		return "nothing"
	}
	return c.Target.String()
}

// withoutPlaces takes the places out where settings are written.
func withoutPlaces(value any) any {
	switch v := value.(type) {
	case map[string]any:
		delete(v, "Pos")
		for _, inner := range v {
			withoutPlaces(inner)
		}
	case []any:
		for _, inner := range v {
			withoutPlaces(inner)
		}
	}
	return value
}
