package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/golden"
)

// TestScripts plays the stories in testdata/*.txt; see package golden. A trace has all that the
// machine did, each line with the time in seconds since the story began. The commands:
//
//	machine KEY=VALUE...    a new machine; defaults are those of defaultConfig.
//	                        grant=auto answers each Want with Grant at once
//	start | stop | preempt | grant | tick | yield [quiet] [WHY] | fault WHY | clear | priority N
//	hear [KEY=VALUE...]     an advert from 10.0.0.2; defaults are those of the machine's
//	                        own; times=N and every=D repeat it, running in between
//	freeze D                lets time pass, and the machine sees nothing of it
//	run D                   lets time pass, with a tick at each deadline
//	show                    prints the state
func TestScripts(t *testing.T) {
	golden.Play(t, "testdata/*.txt", func() golden.Player { return &scriptRun{} })
}

type scriptRun struct {
	m     *Machine
	now   time.Time
	auto  bool
	trace strings.Builder
}

// scriptStart is an arbitrary instant that is not the zero time.
var scriptStart = time.Unix(1000, 0).UTC()

// Trace implements golden.Player.
func (s *scriptRun) Trace() string {
	text := s.trace.String()
	s.trace.Reset()
	return text
}

// Command implements golden.Player.
func (s *scriptRun) Command(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	if word == "machine" {
		return s.machine(rest)
	}
	if s.m == nil {
		return errors.New("no machine yet")
	}
	switch word {
	case "start":
		s.step(Start{})
	case "stop":
		s.step(Stop{})
	case "preempt":
		s.step(Preempt{})
	case "grant":
		s.step(Grant{})
	case "tick":
		s.step(Tick{})
	case "yield":
		why, quiet := strings.CutPrefix(rest, "quiet")
		s.step(Yield{Quiet: quiet, Why: strings.TrimSpace(why)})
	case "fault":
		s.step(SetFault{Fault: true, Why: rest})
	case "clear":
		s.step(SetFault{})
	case "priority":
		n, err := strconv.ParseUint(rest, 10, 8)
		if err != nil {
			return err
		}
		s.step(SetPriority{Priority: uint8(n)})
	case "hear":
		return s.hear(rest)
	case "run", "freeze":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		if word == "run" {
			s.run(s.now.Add(d))
		} else {
			s.now = s.now.Add(d)
		}
	case "show":
		s.show()
	default:
		return errors.New("unknown command")
	}
	return nil
}

func (s *scriptRun) machine(args string) error {
	cfg := defaultConfig()
	*s = scriptRun{now: scriptStart}
	for arg := range strings.FieldsSeq(args) {
		key, value, _ := strings.Cut(arg, "=")
		if key == "grant" {
			s.auto = value == "auto"
			continue
		}
		if err := setConfig(&cfg, key, value); err != nil {
			return err
		}
	}
	var err error
	s.m, err = New(cfg)
	return err
}

// defaultConfig is keepalived's defaults for 10.0.0.1, in version 3.
func defaultConfig() Config {
	return Config{
		Name: "VI_1", VRID: 51, Version: V3, Priority: 100, AdvertInterval: time.Second, Preempt: true,
		Source:    netip.MustParseAddr("10.0.0.1"),
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")},
		GARP: GARP{
			Delay: 5 * time.Second, Repeat: 5, LowerPrioDelay: 5 * time.Second, LowerPrioRepeat: 5, RefreshRepeat: 1,
		},
	}
}

func setConfig(c *Config, key, value string) error {
	var err error
	duration := func(d *time.Duration) { *d, err = time.ParseDuration(value) }
	count := func(n *int) { *n, err = strconv.Atoi(value) }
	small := func() uint8 {
		n, perr := strconv.ParseUint(value, 10, 8)
		err = perr
		return uint8(n)
	}
	switch key {
	case "version":
		c.Version = Version(small())
	case "vrid":
		c.VRID = VRID(small())
	case "priority":
		c.Priority = small()
	case "interval":
		duration(&c.AdvertInterval)
	case "nopreempt":
		c.Preempt = false
	case "preempt_delay":
		duration(&c.PreemptDelay)
	case "state":
		c.InitialMaster = value == "MASTER"
	case "source":
		c.Source, err = netip.ParseAddr(value)
	case "vips":
		c.Addresses, err = parseAddrs(value)
	case "auth_pass":
		c.AuthPass = value
	case "down_adverts":
		count(&c.DownAdverts)
	case "by_permission":
		c.ByPermission = true
	case "skip_address_check":
		c.SkipAddressCheck = true
	case "garp_delay":
		duration(&c.GARP.Delay)
	case "garp_repeat":
		count(&c.GARP.Repeat)
	case "garp_lower_prio_delay":
		duration(&c.GARP.LowerPrioDelay)
	case "garp_lower_prio_repeat":
		count(&c.GARP.LowerPrioRepeat)
	case "garp_refresh":
		duration(&c.GARP.Refresh)
	case "garp_refresh_repeat":
		count(&c.GARP.RefreshRepeat)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

func parseAddrs(list string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for a := range strings.SplitSeq(list, ",") {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// hear builds the advert by configuring a peer of the machine, so that the same words
// mean the same on both sides.
func (s *scriptRun) hear(args string) error {
	peer := s.m.cfg
	peer.Source = netip.MustParseAddr("10.0.0.2")
	times, every := 1, peer.AdvertInterval
	for arg := range strings.FieldsSeq(args) {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "times":
			times, err = strconv.Atoi(value)
		case "every":
			every, err = time.ParseDuration(value)
		case "from":
			peer.Source, err = netip.ParseAddr(value)
		default:
			err = setConfig(&peer, key, value)
		}
		if err != nil {
			return err
		}
	}
	sender := Machine{cfg: peer}
	sender.send(peer.Priority)
	p := sender.out[0].(Send).Packet
	for i := range times {
		if i > 0 {
			s.run(s.now.Add(every))
		}
		s.step(Received{Packet: p, Source: peer.Source})
	}
	return nil
}

// run lets time pass until to.
func (s *scriptRun) run(to time.Time) {
	for {
		at := s.m.Deadline()
		if at.IsZero() || at.After(to) {
			s.now = to
			return
		}
		if at.After(s.now) {
			s.now = at
		}
		s.step(Tick{})
	}
}

func (s *scriptRun) step(ev Event) {
	for _, a := range s.m.Step(s.now, ev) {
		s.printf("%s", describe(a))
		if _, wants := a.(Want); wants && s.auto {
			s.step(Grant{})
		}
	}
}

func (s *scriptRun) show() {
	m := s.m
	s.printf("%v since %.3f, priority %d, wants %t, master-down interval %v, last heard %v priority %d",
		m.State(), seconds(m.Since()), m.Priority(), m.Wants(), m.MasterDownInterval().Round(time.Millisecond), m.MasterAddr(), m.MasterPriority())
}

func (s *scriptRun) printf(format string, args ...any) {
	fmt.Fprintf(&s.trace, "%7.3f %s\n", seconds(s.now), fmt.Sprintf(format, args...))
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return t.Sub(scriptStart).Seconds()
}

// describe prints an action in words; it is exhaustive on purpose.
func describe(a Action) string {
	switch a := a.(type) {
	case Send:
		return fmt.Sprintf("send advert, priority %d", a.Packet.Priority)
	case Want:
		if a.Alive {
			return fmt.Sprintf("want: %v (alive)", a.Why)
		}
		return fmt.Sprintf("want: %v", a.Why)
	case Unwant:
		return "unwant: " + a.Why
	case Changed:
		return fmt.Sprintf("%v -> %v: %s", a.From, a.To, a.Why)
	case Overdue:
		return "overdue"
	case Challenged:
		return fmt.Sprintf("challenged by %v, priority %d", a.Source, a.Packet.Priority)
	case Announce:
		return fmt.Sprintf("announce %d", a.Count)
	case Discarded:
		return fmt.Sprintf("discarded from %v (%v): %s", a.Source, a.Cause, a.Why)
	}
	panic(fmt.Sprintf("unknown action %T", a))
}
