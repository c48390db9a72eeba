package node

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/internal/golden"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// TestScripts plays the stories in testdata/*.txt; see package golden. A trace has all that node n1
// did, each line with the time in seconds since the story began. What repeats unchanged within
// a step is shown once, and plain renewals at the witness not at all. The commands:
//
//	node KEY=VALUE...          a new node n1; see setting
//	start | stop | run D       run lets time pass, with a tick at each deadline
//	freeze D                   time passes, and the node sees nothing of it
//	peer NAME KEY=VALUE...     from now on that peer says so in the mesh; see peer
//	advert NAME PRIORITY       from now on it sends adverts; 0 says goodbye, off just ends
//	lease NAME WORD [CLAIM]    its lease: on, off, take CLAIM, release CLAIM [TO]
//	ask NAME WORD CLAIM [N]    it asks n1: holds, promise, handover (with priority N), released
//	                           (the holding with token N; a name after it: in favour of that node), unsettled
//	witness up | down | wipe | another     the last two: empty, and another etcd cluster too
//	record CLAIM HOLDER TOKEN  what the witness has is changed to that, unreleased
//	ended [always]             a guarded service has ended by itself
//	fail | slow | works EFFECT [TEXT | D]   store, add, remove, start, stop, reference, watchdog
//	                           (slow: its least timeout), pet
//	pretimeout D               the watchdog tells the kernel that long before it resets the machine
//	script NAME up | down, link NAME up | down
//	station [MAC]              from now on that device (or none) answers probes
//	seen CLAIM                 it speaks for an address of the claim unasked
//	reload KEY=VALUE...        with other settings; `reload without NAME` takes a claim away
//	handover CLAIM [TO], standby on | off, trust-witness   an operator's commands
//	fence CLAIM, clear [CLAIM]              an operator's commands
//	show                       phase, verdict and guards of each claim
func TestScripts(t *testing.T) {
	golden.Play(t, "testdata/*.txt", func() golden.Player { return &scriptRun{} })
}

type scriptRun struct {
	w     *world
	text  strings.Builder
	shown map[string]bool // of this step
	said  string          // in the mesh
}

// line takes an action in words.
func (s *scriptRun) line(text string) {
	key, _, _ := strings.Cut(text, " until ")
	if strings.HasPrefix(text, said) {
		if text == s.said {
			return
		}
		s.said = text
	}
	if text == "" || s.shown[key] && repeats(key) {
		return
	}
	if s.shown == nil {
		s.shown = map[string]bool{}
	}
	s.shown[key] = true
	if strings.HasSuffix(key, ": shut gate") {
		clear(s.shown) // what comes again after that is news
	}
	fmt.Fprintf(&s.text, "%7.3f %s\n", seconds(s.w.now), text)
}

// said begins the line about a report to the mesh.
const said = "say in the mesh: "

// repeats reports whether an action is one that comes again and again.
func repeats(text string) bool {
	for _, part := range []string{"pet the watchdog", ": advert,", ": arm gate", ": addresses on", ": ask "} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// Trace implements golden.Player.
func (s *scriptRun) Trace() string {
	text := s.text.String()
	s.text.Reset()
	s.shown = nil
	return text
}

// Command implements golden.Player.
func (s *scriptRun) Command(line string) error {
	if err := s.command(line); err != nil {
		return err
	}
	if s.w.problem != "" {
		return fmt.Errorf("%s\n%s", s.w.problem, s.text.String())
	}
	return nil
}

func (s *scriptRun) command(line string) error {
	words := strings.Fields(line)
	if words[0] == "node" {
		cfg := defaultConfig()
		if err := settings(&cfg, words[1:]); err != nil {
			return err
		}
		var err error
		if s.w, err = newWorld(cfg); err != nil {
			return err
		}
		s.w.trace = s.line
		return nil
	}
	if s.w == nil {
		return errors.New("no node yet")
	}
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	w := s.w
	switch words[0] {
	case "start":
		w.step(Start{})
	case "stop":
		w.step(Stop{})
	case "run", "freeze":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return err
		}
		if words[0] == "freeze" {
			w.now = w.now.Add(d)
			return nil
		}
		w.run(w.now.Add(d))
	case "witness":
		return s.witness(arg(1))
	case "record":
		n, err := strconv.ParseUint(arg(3), 10, 64)
		w.store.put(witness.ClaimRecord{Claim: arg(1), Holder: arg(2), Incarnation: 1, Token: arbiter.Token(n)})
		w.watch()
		return err
	case "fail":
		w.fails[arg(1)] = strings.Join(words[2:], " ")
	case "slow":
		d, err := time.ParseDuration(arg(2))
		w.slow[arg(1)] = d
		return err
	case "pretimeout":
		d, err := time.ParseDuration(arg(1))
		w.early = d
		return err
	case "works":
		delete(w.fails, arg(1))
		delete(w.slow, arg(1))
	case "ended":
		w.step(GuardsDone{Claim: w.cfg.Claims[0].Name, Always: arg(1) == "always", On: true, Err: errors.New("guard web has ended")})
	case "script":
		w.step(Script{Name: arg(1), Up: arg(2) == "up"})
	case "link":
		w.step(Link{Interface: arg(1), Up: arg(2) == "up"})
	case "handover":
		w.step(Handover{Claim: arg(1), To: arg(2)})
	case "station":
		w.station = arg(1)
	case "seen":
		w.step(sighting(arg(1), w.station))
	case "fence":
		w.step(FenceNow{Claim: arg(1)})
	case "clear":
		w.step(ClearFence{Claim: arg(1)})
	case "standby":
		w.step(Standby{On: arg(1) == "on"})
	case "trust-witness":
		w.step(TrustWitness{})
	case "reload":
		return s.reload(words[1:])
	case "show":
		s.show()
	case "peer", "advert", "lease", "ask":
		p := w.peers[arg(1)]
		if p == nil {
			return errors.New("no such peer")
		}
		return s.peerCommand(p, words[0], words[2:])
	default:
		return errors.New("unknown command")
	}
	return nil
}

func (s *scriptRun) witness(word string) error {
	w := s.w
	switch word {
	case "up", "down":
		w.up = word == "up"
		w.watch()
	case "wipe":
		w.store.wipe(w.store.id)
	case "another":
		w.store.wipe(w.store.id + 1)
	default:
		return errors.New("unknown state")
	}
	return nil
}

// reload changes the claims that the node was made with.
func (s *scriptRun) reload(words []string) error {
	cfg := s.w.cfg
	if len(words) == 2 && words[0] == "without" {
		var kept []ClaimConfig
		for _, c := range cfg.Claims {
			if c.Name != words[1] {
				kept = append(kept, c)
			}
		}
		cfg.Claims = kept
	} else if err := settings(&cfg, words); err != nil {
		return err
	}
	s.w.cfg = cfg
	s.w.step(Reconfigure{Claims: cfg.Claims})
	return nil
}

func (s *scriptRun) show() {
	for _, name := range s.w.node.claimNames() {
		c := s.w.node.claims[name]
		fmt.Fprintf(&s.text, "%7.3f = %s: %v, %v, %s: %s\n", seconds(s.w.now), name, c.phase, c.state(), c.guards.state, c.verdict.Why)
	}
}

func (s *scriptRun) peerCommand(p *peerSim, command string, words []string) error {
	w := s.w
	word, rest := "", []string(nil)
	if len(words) > 0 {
		word, rest = words[0], words[1:]
	}
	claim := ""
	if len(rest) > 0 {
		claim = rest[0]
	}
	switch command {
	case "peer":
		return s.peer(p, words)
	case "advert":
		n, err := strconv.ParseUint(word, 10, 8)
		switch {
		case word == "off":
			p.priority = 0
		case err != nil:
			return err
		case n == 0:
			p.priority = 0
			w.hear(p, 0)
		default:
			w.advertise(p, uint8(n))
		}
	case "lease":
		switch word {
		case "on":
			p.leasing = true
		case "off":
			p.leasing = false
		case "take":
			p.lease.Take(claim, 0)
		case "release":
			to := ""
			if len(rest) > 1 {
				to = rest[1]
			}
			p.lease.Release(claim, to)
		default:
			return errors.New("unknown word")
		}
		w.serve(p)
	case "ask":
		kind, ok := map[string]arbiter.RequestKind{
			"holds": arbiter.RequestHolds, "promise": arbiter.RequestPromise, "handover": arbiter.RequestHandover, "released": arbiter.RequestReleased, "unsettled": arbiter.RequestReleased,
		}[word]
		if !ok {
			return errors.New("unknown question")
		}
		r := arbiter.Request{ID: uint64(w.order) + 1, Kind: kind, From: p.name, To: "n1", Claim: claim, Unsettled: word == "unsettled"}
		if len(rest) > 1 {
			n, err := strconv.ParseUint(rest[1], 10, 8)
			if err != nil {
				return err
			}
			if r.Priority = uint8(n); kind == arbiter.RequestReleased {
				r.Priority, r.Token = 0, arbiter.Token(n)
			}
		}
		if len(rest) > 2 {
			r.For = rest[2]
		}
		w.order++
		w.step(PeerAsked{Request: r})
	}
	return nil
}

// peer sets what a peer says: silent; mute (answers only); alive, dead (to the mesh); leaving, left; via=NAME;
// promises=yes|no|nothing; takes; and of claim=NAME (VI_1): state, holds, guards, token, priority, barred.
func (s *scriptRun) peer(p *peerSim, words []string) error {
	name := s.w.cfg.Claims[0].Name
	for _, word := range words {
		key, value, given := strings.Cut(word, "=")
		is := value != "no"
		n, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "silent", "mute": // mute: it still answers
			p.reports, p.answers = false, key == "mute"
			return nil
		case "alive", "dead":
			s.w.step(PeerAlive{Name: p.name, Alive: key == "alive"})
			return nil
		case "restarted":
			p.report = arbiter.Report{Node: p.name, Incarnation: p.report.Incarnation + 1, Mode: p.report.Mode}
		case "leaving":
			p.report.Leaving = is
		case "left":
			p.report.Leaving, p.report.Left = is, is
		case "via":
			p.via = value
		case "promises":
			p.promises = value
		case "takes":
			p.takes = is
		case "claim":
			name = value
		case "state":
			p.claim(name).State = value
		case "holds":
			p.claim(name).Holds = is
		case "guards":
			p.claim(name).Guards = is
		case "token":
			p.claim(name).Token = arbiter.Token(n)
		case "sees":
			p.sees = n
		case "priority":
			p.claim(name).Priority = uint8(n)
		case "barred":
			p.claim(name).Barred = value
		default:
			return fmt.Errorf("unknown key %q (%t)", key, given)
		}
	}
	if !p.report.Witness {
		p.claim(name)
	}
	s.w.say(p)
	return nil
}

// defaultConfig is node n1 in plain VRRP with one instance of priority 150.
func defaultConfig() Config {
	return Config{
		Name: "n1", Incarnation: 100, Mode: arbiter.ModeVRRP, Timing: witness.Auto(time.Second, 3), ClearAfter: 30 * time.Second,
		Claims: []ClaimConfig{{Name: "VI_1", GuardLimit: 2 * time.Second, Instances: []InstanceConfig{testInstance("VI_1", 51)}}},
	}
}

func testInstance(name string, vrid vrrp.VRID) InstanceConfig {
	addr := netip.MustParseAddr("10.0.0.11")
	return InstanceConfig{Address: addr, VRRP: vrrp.Config{
		Name: name, VRID: vrid, Version: vrrp.V3, Priority: 150, AdvertInterval: time.Second, Preempt: true,
		Source: addr, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 100 + byte(vrid-51)})}, DownAdverts: 3,
		GARP: vrrp.GARP{Repeat: 5},
	}}
}

// settings changes a configuration by words like keepalived's.
func settings(cfg *Config, words []string) error {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if err := setting(cfg, key, value); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	return nil
}

func setting(cfg *Config, key, value string) error {
	modes := map[string]arbiter.Mode{"vrrp": arbiter.ModeVRRP, "veto": arbiter.ModeVeto, "quorum": arbiter.ModeQuorum, "lease": arbiter.ModeLease}
	var err error
	duration := func(d *time.Duration) { *d, err = time.ParseDuration(value) }
	each := func(change func(*InstanceConfig)) {
		for i := range cfg.Claims {
			cfg.Claims[i].Instances = append([]InstanceConfig(nil), cfg.Claims[i].Instances...)
			for j := range cfg.Claims[i].Instances {
				change(&cfg.Claims[i].Instances[j])
			}
		}
	}
	claims := func(change func(*ClaimConfig)) {
		cfg.Claims = append([]ClaimConfig(nil), cfg.Claims...)
		for i := range cfg.Claims {
			change(&cfg.Claims[i])
		}
	}
	track := func() Track {
		name, weight, _ := strings.Cut(value, ":")
		t := Track{Name: name}
		if weight != "" {
			t.Weight, err = strconv.Atoi(weight)
		}
		return t
	}
	switch key {
	case "mode":
		cfg.Mode = modes[value]
	case "peers":
		cfg.Peers = strings.Split(value, ",")
	case "witnesses":
		cfg.Witnesses = strings.Split(value, ",")
	case "isolation":
		if value == "claim" {
			cfg.Isolation = arbiter.IsolationClaim
		}
		if value == "fence" {
			cfg.Isolation, cfg.ShotDelay, cfg.ShotJitter = arbiter.IsolationFence, 5*time.Second, 200*time.Millisecond
		}
	case "reference":
		cfg.Reference = true
	case "clear_after":
		duration(&cfg.ClearAfter)
	case "former", "unsettled": // a former start held the claim with that token, and had started its guards or not
		n, perr := strconv.ParseUint(value, 10, 64)
		err = perr
		cfg.Former = map[string]Former{cfg.Claims[0].Name: {Token: arbiter.Token(n), Settled: key == "former"}}
		cfg.Claims[0].Token = arbiter.Token(n)
	case "kept": // TOKEN: a former start has left the claim in place, leased for 2 s more
		n, perr := strconv.ParseUint(value, 10, 64)
		err = perr
		k := Kept{Token: arbiter.Token(n)}
		switch cfg.Mode {
		case arbiter.ModeLease:
			k.Leased = testStart.Add(2 * time.Second)
		case arbiter.ModeQuorum:
			k.Promised = testStart.Add(2 * time.Second)
		case arbiter.ModeNone, arbiter.ModeVRRP, arbiter.ModeVeto:
		}
		cfg.Kept = map[string]Kept{cfg.Claims[0].Name: k}
		cfg.Claims[0].Token = k.Token
	case "left":
		cfg.Left = true
	case "watchdog":
		cfg.Watchdog = map[string]WatchdogMode{"required": WatchdogRequired, "preferred": WatchdogPreferred}[value]
	case "fenced": // by a former start, CAUSE
		cfg.Fenced = append(cfg.Fenced, fencing.Record{
			ID: "99-1", Claim: cfg.Claims[0].Name, Cause: fencing.Cause(value), Why: "as it was then",
			Token: 7, Result: fencing.Done, Began: testStart.Add(-10 * time.Second),
		})
	case "by_lifetime":
		cfg.ByLifetime = true
		cfg.Timing = witness.AutoByLifetime(time.Second, 3, 1300*time.Millisecond)
	case "standby":
		cfg.Standby = true
	case "priority":
		n, perr := strconv.ParseUint(value, 10, 8)
		err = perr
		each(func(in *InstanceConfig) { in.VRRP.Priority = uint8(n) })
	case "nopreempt":
		each(func(in *InstanceConfig) { in.VRRP.Preempt = false })
	case "guarded":
		claims(func(c *ClaimConfig) { c.Guarded = true })
	case "always":
		claims(func(c *ClaimConfig) { c.GuardedAlways = true })
	case "tries":
		n, perr := strconv.Atoi(value)
		err = perr
		claims(func(c *ClaimConfig) { c.GuardTries = n })
	case "limit":
		claims(func(c *ClaimConfig) { duration(&c.GuardLimit) })
	case "token":
		n, perr := strconv.ParseUint(value, 10, 64)
		err = perr
		claims(func(c *ClaimConfig) { c.Token = arbiter.Token(n) })
	case "script":
		each(func(in *InstanceConfig) { in.Scripts = append(in.Scripts, track()) })
	case "interface":
		each(func(in *InstanceConfig) { in.Interfaces = append(in.Interfaces, track()) })
	case "version":
		claims(func(c *ClaimConfig) { c.Version = value })
	case "group": // one claim of that name with two instances
		c := cfg.Claims[0]
		c.Name, c.Group, c.Instances = value, true, []InstanceConfig{c.Instances[0], testInstance("VI_2", 52)}
		cfg.Claims = []ClaimConfig{c}
	case "second": // another claim of one instance
		c := cfg.Claims[0]
		c.Name, c.Instances = "VI_2", []InstanceConfig{testInstance("VI_2", 52)}
		cfg.Claims = append(append([]ClaimConfig(nil), cfg.Claims...), c)
	default:
		err = errors.New("unknown key")
	}
	return err
}
