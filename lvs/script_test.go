package lvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/golden"
)

// TestScripts runs the stories in testdata/*.txt: configuration and commands, one a line,
// then "----", then all that the balancer did. A new step after a trace needs no
// configuration; with one it is a reload.
//
//	server NAME ADDR... [quorum N] [hysteresis N] [sorry ADDR] [sorry_inhibit] [omega] [ha_suspend]
//	real ADDR [weight N] [inhibit] [slow D] [DR] [check ID | alpha ID]...
//	global [flush] [on_stop each|services|all] [sync IF [INSTANCE]] [init_notifies]
//
// The commands are those of world.command.
func TestScripts(t *testing.T) {
	golden.Play(t, "testdata/*.txt", func() golden.Player { return &scriptRun{} })
}

// scriptRun is a story of a balancer.
type scriptRun struct {
	w   *world
	cfg *Config // that is being read
}

// Trace implements golden.Player.
func (s *scriptRun) Trace() string {
	if s.w == nil {
		return ""
	}
	text := strings.Join(append(s.w.trace, ""), "\n")
	s.w.trace = nil
	return text
}

// Command implements golden.Player.
func (s *scriptRun) Command(line string) error {
	fields := strings.Fields(line)
	if slices.Contains([]string{"server", "real", "global"}, fields[0]) {
		if s.cfg == nil {
			s.cfg = &Config{}
		}
		scripted(s.cfg, fields)
		return nil
	}
	var err error
	switch {
	case s.cfg != nil && s.w == nil:
		s.w, err = newWorld(*s.cfg)
	case s.cfg != nil:
		s.w.send(Reconfigure{*s.cfg})
	}
	if s.cfg = nil; err == nil && fields[0] != "reload" {
		err = s.w.command(fields)
	}
	if err != nil {
		return err
	}
	if len(s.w.problems) > 0 {
		return fmt.Errorf("%v\n%s", s.w.problems, strings.Join(s.w.trace, "\n"))
	}
	return nil
}

// scripted takes one line of configuration in.
func scripted(c *Config, f []string) {
	words := f[1:]
	next := func() string {
		w := words[0]
		words = words[1:]
		return w
	}
	number := func() int {
		n, err := strconv.Atoi(next())
		if err != nil {
			panic(err)
		}
		return n
	}
	switch f[0] {
	case "global":
		for len(words) > 0 {
			switch next() {
			case "flush":
				c.Flush = true
			case "init_notifies":
				c.InitNotifies = true
			case "on_stop":
				c.OnStop = OnStop(slices.Index([]string{"each", "services", "all"}, next()))
			case "timeouts": // in seconds
				c.Timeouts = Timeouts{TCP: time.Duration(number()) * time.Second, UDP: time.Duration(number()) * time.Second}
			case "sync":
				c.Sync = &Sync{Daemon: Daemon{Interface: next(), ID: 5, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}}
				if len(words) > 0 {
					c.Sync.Instance = next()
				}
			}
		}
	case "server":
		c.Servers = append(c.Servers, scriptedServer(next, number, &words))
	case "real":
		v := &c.Servers[len(c.Servers)-1]
		v.Reals = append(v.Reals, scriptedReal(next, number, &words))
	}
}

func scriptedServer(next func() string, number func() int, words *[]string) VirtualServer {
	v := VirtualServer{Name: next(), Quorum: 1, Service: Service{Scheduler: "rr"}}
	for len(*words) > 0 {
		switch w := next(); w {
		case "quorum":
			v.Quorum = number()
		case "hysteresis":
			v.Hysteresis = number()
		case "sorry":
			v.Sorry = &Sorry{Addr: netip.MustParseAddrPort(next())}
		case "sorry_inhibit":
			v.Sorry.Inhibit = true
		case "omega":
			v.Omega = true
		case "ha_suspend":
			v.Follows = true
		case "sh":
			v.Service.Scheduler = w
		default:
			v.Keys = append(v.Keys, AddressKey(TCP, netip.MustParseAddrPort(w)))
		}
	}
	return v
}

func scriptedReal(next func() string, number func() int, words *[]string) RealServer {
	r := RealServer{Addr: netip.MustParseAddrPort(next()), Weight: 1}
	for len(*words) > 0 {
		switch w := next(); w {
		case "weight":
			r.Weight = number()
		case "inhibit":
			r.Inhibit = true
		case "slow":
			d, err := time.ParseDuration(next())
			if err != nil {
				panic(err)
			}
			r.SlowStart = d
		case "DR":
			r.Forwarding.Method = DR
		case "check", "alpha":
			r.Checks = append(r.Checks, Check{ID: CheckID(next()), Alpha: w == "alpha"})
		}
	}
	return r
}
