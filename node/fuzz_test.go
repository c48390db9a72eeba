package node

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

var (
	chaosSeeds = flag.Int("seeds", 400, "how many random stories to play")
	firstSeed  = flag.Uint64("seed", 1, "the first seed")
)

// FuzzNode feeds a node whatever bytes make up: adverts, reports, questions and answers of
// peers, a witness that is lost, late, lying about others or replaced, effects that succeed,
// fail or never end, links, scripts, reloads, commands and jumps of time. It must not
// panic, break a rule, or want to be called at once again and again.
func FuzzNode(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomBytes(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if wrong, _ := playChaos(data); wrong != "" {
			t.Error(wrong)
		}
	})
}

// TestChaos plays the same from seeds.
func TestChaos(t *testing.T) {
	held := 0
	for i := range *chaosSeeds {
		seed := *firstSeed + uint64(i)
		wrong, took := playChaos(randomBytes(seed, 1500))
		if wrong != "" {
			t.Fatalf("seed %d: %s\nreplay: go test ./node -run TestChaos -seeds 1 -seed %d", seed, wrong, seed)
		}
		if took {
			held++
		}
	}
	t.Logf("a claim was held in %d of %d", held, *chaosSeeds)
	if *chaosSeeds >= 100 && held < *chaosSeeds/3 {
		t.Error("hardly anything was ever held: this proves nothing")
	}
}

// playChaos returns what went wrong, with the end of the story, and whether a claim
// was ever held.
func playChaos(data []byte) (wrong string, held bool) {
	c := newChaos(data)
	if wrong = c.play(); wrong == "" {
		return "", c.held
	}
	again := newChaos(data)
	again.traced = true
	again.play()
	return wrong + "\n" + strings.Join(again.trace[max(0, len(again.trace)-60):], "\n"), c.held
}

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 11))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// chaos turns bytes into what happens to a node.
type chaos struct {
	data    []byte
	cfg     Config
	node    *Node
	now     time.Time
	store   *store
	rules   rules
	results []Event               // of effects whose results have not come yet
	swaps   []witness.Operation   // on their way to the witness
	last    arbiter.Request       // the node's last question
	seq     map[string]uint64     // of reports
	asked   uint64                // ids of the peers' questions
	old     []witness.Observation // for what arrives late
	held    bool

	addFails, removeFails bool

	traced bool
	trace  []string
}

func newChaos(data []byte) *chaos {
	c := &chaos{data: data, now: testStart, store: &store{}, seq: map[string]uint64{}}
	c.store.wipe(7)
	cfg := defaultConfig()
	cfg.Mode = arbiter.Mode(1 + c.next()%4)
	cfg.Peers, cfg.Witnesses = []string{"n2", "n3"}[:1+c.next()%2], []string{"w1"}
	choice := c.next()
	cfg.Isolation, cfg.Watchdog = arbiter.Isolation(choice%3), WatchdogMode(choice/3%3)
	options := c.next()
	cfg.Reference, cfg.Left = options&1 != 0, options&2 != 0 && cfg.Mode == arbiter.ModeLease
	cfg.Claims = c.claims(options >> 2)
	c.cfg = cfg
	return c
}

// claims returns one or two claims with settings by the bits.
func (c *chaos) claims(bits byte) []ClaimConfig {
	claims := defaultConfig().Claims
	claims[0].Guarded, claims[0].GuardedAlways, claims[0].GuardTries = bits&1 != 0, bits&2 != 0, int(bits&3)
	if bits&4 != 0 {
		claims[0].Instances[0].Scripts = []Track{{Name: "check", Weight: 0}}
	}
	if bits&8 != 0 {
		claims[0].Instances[0].Interfaces = []Track{{Name: "eth0", Weight: -60}}
	}
	if bits&16 != 0 {
		second := claims[0]
		second.Name, second.Instances = "VI_2", []InstanceConfig{testInstance("VI_2", 52)}
		claims = append(claims, second)
	}
	if bits&32 != 0 {
		claims[0].Version = "2"
	}
	return claims
}

// next returns the next byte; 0 when there is none.
func (c *chaos) next() byte {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return b
}

func (c *chaos) play() string {
	c.rules.init(c.cfg)
	var err error
	if c.node, err = New(c.cfg); err != nil {
		return err.Error()
	}
	wrong := c.step(Link{Interface: "eth0", Up: true})
	if wrong == "" {
		wrong = c.step(Script{Name: "check", Up: true})
	}
	if wrong == "" {
		wrong = c.step(Start{})
	}
	for len(c.data) > 0 && wrong == "" {
		wrong = c.happen(c.next())
		c.node.Snapshot(c.now)
		for _, cl := range c.node.claims {
			c.held = c.held || cl.phase == Held
		}
	}
	return wrong
}

// happen lets one thing happen. Most bytes let time pass and effects succeed, so that
// the node gets somewhere between the troubles.
func (c *chaos) happen(b byte) string {
	peer := c.cfg.Peers[int(b>>4)%len(c.cfg.Peers)]
	switch b % 16 {
	case 0, 1, 2:
		return c.pass(time.Duration(1+int(c.next())) * 4 * time.Millisecond)
	case 3:
		return c.pass(time.Duration(c.next()) * 40 * time.Millisecond)
	case 4, 5, 6:
		return c.finish(b>>4 == 15)
	case 7, 8:
		return c.answerWitness(b >> 4)
	case 9:
		return c.step(Advert{Instance: "VI_1", Source: testInstance("x", 51).Address.Next(), Packet: vrrp.Packet{
			Version: vrrp.V3, VRID: 51, Priority: c.next(), AdvertInterval: time.Second, Addresses: testInstance("x", 51).VRRP.Addresses,
		}})
	case 10:
		return c.report(peer)
	case 11:
		c.asked++
		return c.step(PeerAsked{Request: arbiter.Request{
			ID: c.asked, Kind: arbiter.RequestKind(c.next() % 6), From: peer, To: "n1", Claim: "VI_1", Token: arbiter.Token(b >> 6), Priority: c.next(), For: []string{"", "n1", "n3"}[b%3],
		}})
	case 12:
		return c.step(PeerAnswered{Answer: arbiter.Answer{ID: c.last.ID, From: peer, To: "n1", Claim: "VI_1", Yes: b>>6 != 0, Token: arbiter.Token(c.next() % 4)}})
	case 13:
		return c.trouble(b >> 4)
	case 14:
		return c.records(b >> 4)
	}
	return c.step(Tick{})
}

// trouble is what operators, links and reloads do.
func (c *chaos) trouble(b byte) string {
	switch b {
	case 0, 1:
		return c.step(Link{Interface: "eth0", Up: b == 0})
	case 2, 3:
		return c.step(Script{Name: "check", Up: b == 2})
	case 4:
		return c.step(Reconfigure{Claims: c.claims(c.next())})
	case 5:
		return c.step(Reconfigure{Claims: nil})
	case 6:
		return c.step(Handover{ID: 1, Claim: "VI_1", To: []string{"", "n2", "n9"}[c.next()%3]})
	case 7:
		return c.step(Standby{ID: 1, On: c.next()%4 == 0})
	case 8:
		if c.next()%8 == 0 {
			return c.step(Stop{})
		}
	case 9:
		return c.step(PeerAlive{Name: "n2", Alive: c.next()%2 == 0})
	case 10:
		c.now = c.now.Add(time.Duration(c.next()) * 100 * time.Millisecond) // frozen
	case 11:
		c.addFails, c.removeFails = false, false
	case 12:
		c.addFails = true
	case 13:
		c.removeFails = true
	case 14:
		if mac, there := c.station(); there {
			return c.step(sighting("VI_1", mac))
		}
	case 15:
		switch c.next() % 4 {
		case 0:
			return c.step(FenceNow{ID: 1, Claim: "VI_1"})
		case 1, 2:
			return c.step(ClearFence{ID: 1, Claim: []string{"", "VI_1"}[c.next()%2]})
		case 3:
			return c.step(FencingWritten{Err: c.failing(c.next()%2 == 0)})
		}
	}
	return ""
}

// station returns who speaks ARP for the address now: mostly nobody.
func (c *chaos) station() (mac string, there bool) {
	n := c.next()
	return fmt.Sprintf("02:00:00:00:00:%02x", n), n >= 200
}

// report is a peer's word of itself; every now and then it was started anew.
func (c *chaos) report(peer string) string {
	b := c.next()
	c.seq[peer]++
	return c.step(PeerReport{
		Path: arbiter.Path{Via: []string{"", "", "w1"}[b%3]},
		Report: arbiter.Report{
			Node: peer, Incarnation: 1 + c.seq[peer]/40, Seq: c.seq[peer], Mode: c.cfg.Mode, Leaving: b&8 != 0 && b&16 != 0, Left: b&32 != 0,
			Claims: []arbiter.ClaimReport{{
				Claim: "VI_1", State: vrrp.State(b % 4).String(), Holds: b&64 != 0, Guards: b&128 != 0,
				Token: arbiter.Token(c.next() % 8), Priority: c.next(), Address: "10.0.0.12",
			}},
		},
	})
}

// records is what other nodes, or people, do to the store.
func (c *chaos) records(b byte) string {
	s := c.store
	s.revision++
	switch b % 8 {
	case 0:
		s.wipe(s.id + 1)
	case 1:
		delete(s.claims, "VI_1")
	case 2:
		delete(s.nodes, "n1")
	case 3, 4:
		r := s.claims["VI_1"].Record
		r.Claim, r.Holder, r.Incarnation, r.Token, r.Released = "VI_1", "n2", 1, r.Token+1, b%8 == 4
		if r.Released {
			r.To = []string{"", "n1", "n3"}[c.next()%3]
		}
		s.claims["VI_1"] = witness.Versioned[witness.ClaimRecord]{Version: s.revision, Record: r}
		if me, ok := s.nodes["n1"]; ok {
			me.Record.Taken++
			me.Version = s.revision
			s.nodes["n1"] = me
		}
	default:
		r := s.nodes["n2"].Record
		r.Node, r.Incarnation, r.Beat, r.HoldMS, r.LateMS = "n2", 1, r.Beat+1, 2840, 100
		s.nodes["n2"] = witness.Versioned[witness.NodeRecord]{Version: s.revision, Record: r}
	}
	o := s.observe()
	c.old = append(c.old, o)
	if b&8 != 0 {
		o = c.old[int(c.next())%len(c.old)]
	}
	return c.step(WitnessSeen{Observation: o})
}

// answerWitness brings the reply to a swap: in time, never, or after it was given up.
func (c *chaos) answerWitness(b byte) string {
	if len(c.swaps) == 0 {
		return ""
	}
	op := c.swaps[0]
	c.swaps = c.swaps[1:]
	switch b {
	case 0:
		return c.step(WitnessDone{ID: op.ID, Err: errors.New("no answer")}) // and it never got there
	case 1:
		return c.step(WitnessDone{ID: op.ID, Err: errors.New("refused"), Refused: true})
	case 2:
		c.store.do(op.Swap)
		return c.step(WitnessDone{ID: op.ID, Err: errors.New("no answer")})
	case 3:
		c.swaps = append(c.swaps, op) // later
		return c.step(WitnessDone{ID: op.ID, Err: errors.New("no answer")})
	}
	return c.step(WitnessDone{ID: op.ID, Outcome: c.store.do(op.Swap)})
}

// finish brings the result of the oldest effect that has none yet.
func (c *chaos) finish(fails bool) string {
	if len(c.results) == 0 {
		return ""
	}
	ev := c.results[0]
	c.results = c.results[1:]
	if fails {
		err := errors.New("it failed")
		switch e := ev.(type) {
		case TokenStored:
			e.Err = err
			ev = e
		case GuardsDone:
			e.Err = err
			ev = e
		case LeftStored:
			e.Err = err
			ev = e
		case AddressesProbed:
			e.Err, e.Answers = err, nil
			ev = e
		default: // cannot fail
		}
	}
	return c.step(ev)
}

// pass lets time pass, with a tick at each deadline.
func (c *chaos) pass(d time.Duration) string {
	end := c.now.Add(d)
	for range 500 {
		at := c.node.Deadline(c.now)
		if at.IsZero() || at.After(end) {
			c.now = end
			return ""
		}
		if at.After(c.now) {
			c.now = at
		}
		if wrong := c.step(Tick{}); wrong != "" {
			return wrong
		}
	}
	return fmt.Sprintf("more than 500 ticks in %v", d)
}

func (c *chaos) step(ev Event) string {
	c.rules.event(ev)
	c.note("< %T%+v", ev, ev)
	var atOnce []Event // as in the daemon, which carries out effects on addresses in its loop
	for _, a := range c.node.Step(c.now, ev) {
		c.note("    %T%+v", a, a)
		if wrong := c.rules.action(c.now, a); wrong != "" {
			return fmt.Sprintf("%s: %T%+v", wrong, a, a)
		}
		switch a := a.(type) {
		case StoreToken:
			c.results = append(c.results, TokenStored{Claim: a.Claim, Token: a.Token})
		case StoreLeft:
			c.results = append(c.results, LeftStored{})
		case AddAddresses:
			atOnce = append(atOnce, AddressesDone{Claim: a.Claim, On: true, Err: c.failing(c.addFails)})
		case RemoveAddresses:
			atOnce = append(atOnce, AddressesDone{Claim: a.Claim, Err: c.failing(c.removeFails)})
		case StartGuards:
			c.results = append(c.results, GuardsDone{Claim: a.Claim, Always: a.Always, On: true})
		case StopGuards:
			c.results = append(c.results, GuardsDone{Claim: a.Claim, Always: a.Always})
		case AskReference:
			c.results = append(c.results, ReferenceDone{Answers: c.asked%2 == 0})
		case ProbeAddresses:
			probed := AddressesProbed{Claim: a.Claim}
			if mac, there := c.station(); there {
				probed.Answers = append(probed.Answers, sighting(a.Claim, mac).Station)
			}
			c.results = append(c.results, probed)
		case AskWitness:
			c.swaps = append(c.swaps, a.Operation)
		case Question:
			c.last = a.Request
		case ShootPeer:
			c.results = append(c.results, PeerShot{Peer: a.Peer})
		case OpenWatchdog:
			atOnce = append(atOnce, WatchdogDone{Timeout: a.Timeout})
		case Begin, End, SendAdvert, ArmGate, ShutGate, Announce, Notify, Publish, Reply, Respond, StoreStandby, StoreWitness, PetWatchdog, Tell, WriteFencing, Stopped:
		}
	}
	for _, ev := range atOnce {
		if wrong := c.step(ev); wrong != "" {
			return wrong
		}
	}
	return c.rules.spins(c.now, ev, c.node.Deadline(c.now))
}

func (c *chaos) note(format string, args ...any) {
	if c.traced {
		c.trace = append(c.trace, fmt.Sprintf("%9.3f ", seconds(c.now))+fmt.Sprintf(format, args...))
	}
}

func (c *chaos) failing(fails bool) error {
	if fails {
		return errors.New("it failed")
	}
	return nil
}
