package node

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// testStart is when every story begins; no instant of it is zero.
var testStart = time.Unix(1000, 0).UTC()

// world is what surrounds the one node under test, under virtual time: the shell that
// carries out its actions, a witness, and peers that are no more than what they say.
type world struct {
	cfg     Config
	node    *Node
	now     time.Time
	queue   worldQueue
	order   int
	store   *store
	up      bool // the witness answers
	peers   map[string]*peerSim
	fails   map[string]string        // effect: its error
	slow    map[string]time.Duration // effect: how long it takes
	rules   rules
	trace   func(string)  // takes each action in words
	station string        // the MAC of another device that has the first address
	timeout time.Duration // of the watchdog
	early   time.Duration // its pretimeout
	petted  time.Time
	atOnce  int // ticks at one instant
	problem string
}

// peerSim is another node: what it says in the mesh, its adverts, and its lease.
type peerSim struct {
	name     string
	addr     netip.Addr
	reports  bool
	sees     uint64 // the etcd cluster that it sees; 0: the one that there is
	answers  bool   // although it does not report
	report   arbiter.Report
	via      string
	promises string // how it answers when asked for one: yes, no or nothing
	takes    bool   // it is about to take whatever it is asked for
	priority uint8  // of its adverts; 0: none are sent
	lease    *witness.Lease
	leasing  bool // the lease runs
}

func newWorld(cfg Config) (*world, error) {
	w := &world{
		cfg: cfg, now: testStart, store: &store{id: 7, revision: 1}, up: true, peers: map[string]*peerSim{},
		fails: map[string]string{}, slow: map[string]time.Duration{}, trace: func(string) {},
	}
	w.store.wipe(7)
	w.rules.init(cfg)
	var err error
	if w.node, err = New(cfg); err != nil {
		return nil, err
	}
	for i, name := range slices.Concat(cfg.Peers, cfg.Witnesses) {
		p := &peerSim{
			name: name, addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(12 + i)}), promises: "yes",
			report: arbiter.Report{Node: name, Incarnation: 1, Mode: cfg.Mode, Witness: slices.Contains(cfg.Witnesses, name)},
		}
		if cfg.Mode == arbiter.ModeLease && !p.report.Witness {
			p.lease = witness.NewLease(witness.Config{Node: name, Incarnation: 1, Timing: cfg.Timing})
		}
		w.peers[name] = p
	}
	return w, nil
}

func (w *world) after(wait time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, worldItem{w.now.Add(wait), w.order, do})
}

// run lets time pass until to, with a tick at each of the node's deadlines.
func (w *world) run(to time.Time) {
	for w.problem == "" {
		next := to
		if len(w.queue) > 0 && w.queue[0].at.Before(next) {
			next = w.queue[0].at
		}
		wake := w.node.Deadline(w.now)
		if !wake.IsZero() && !wake.After(next) && !wake.After(to) {
			w.pass(wake)
			w.step(Tick{})
			continue
		}
		if len(w.queue) > 0 && !w.queue[0].at.After(to) {
			it := heap.Pop(&w.queue).(worldItem)
			w.pass(it.at)
			it.do()
			continue
		}
		w.pass(to)
		return
	}
}

// spinLimit is how many ticks in a row may find nothing better than to be called again
// at the same instant.
const spinLimit = 3

// pass moves the clock, never back.
func (w *world) pass(to time.Time) {
	if to.After(w.now) {
		w.now, w.atOnce = to, 0
		return
	}
	if w.atOnce++; w.atOnce > 200 {
		w.problem = fmt.Sprintf("at %.3f no time passes any more", seconds(w.now))
	}
}

// step drives the node with an event, and with the results that are there at once.
func (w *world) step(ev Event) {
	queue := []Event{ev}
	for len(queue) > 0 && w.problem == "" {
		ev, queue = queue[0], queue[1:]
		w.rules.event(ev)
		for _, a := range w.node.Step(w.now, ev) {
			if wrong := w.rules.action(w.now, a); wrong != "" {
				w.problem = fmt.Sprintf("at %.3f %s: %T%+v", seconds(w.now), wrong, a, a)
			}
			w.trace(describe(a))
			if result := w.do(a); result != nil {
				queue = append(queue, result)
			}
		}
	}
	if wrong := w.rules.spins(w.now, ev, w.node.Deadline(w.now)); wrong != "" && w.problem == "" {
		w.problem = fmt.Sprintf("at %.3f %s", seconds(w.now), wrong)
	}
}

// failed returns the error that an effect has to have now.
func (w *world) failed(effect string) error {
	if text := w.fails[effect]; text != "" {
		return errors.New(text)
	}
	return nil
}

// later brings an event after the time that the effect takes.
func (w *world) later(effect string, usual time.Duration, ev Event) {
	if d, ok := w.slow[effect]; ok {
		usual = d
	}
	w.after(usual, func() { w.step(ev) })
}

// do carries out an action, and returns its result if that is there at once.
func (w *world) do(a Action) Event {
	switch a := a.(type) {
	case StoreToken:
		w.later("store", time.Millisecond, TokenStored{Claim: a.Claim, Token: a.Token, Err: w.failed("store")})
	case StoreLeft:
		w.later("store", time.Millisecond, LeftStored{Err: w.failed("store")})
	case AddAddresses:
		return AddressesDone{Claim: a.Claim, On: true, Err: w.failed("add")}
	case RemoveAddresses:
		return AddressesDone{Claim: a.Claim, Err: w.failed("remove")}
	case StartGuards:
		w.later("start", 20*time.Millisecond, GuardsDone{Claim: a.Claim, Always: a.Always, On: true, Err: w.failed("start")})
	case StopGuards:
		w.later("stop", 50*time.Millisecond, GuardsDone{Claim: a.Claim, Always: a.Always, Err: w.failed("stop")})
	case AskReference:
		w.later("reference", 5*time.Millisecond, ReferenceDone{Answers: w.failed("reference") == nil})
	case ProbeAddresses:
		probed := AddressesProbed{Claim: a.Claim}
		if w.station != "" {
			probed.Answers = append(probed.Answers, sighting(a.Claim, w.station).Station)
		}
		w.later("probe", 400*time.Millisecond, probed)
	case Question:
		w.question(a.Request)
	case AskWitness:
		w.askWitness(a.Operation)
	case ShootPeer:
		w.later("agent", 2*time.Second, PeerShot{Peer: a.Peer, Err: w.failed("agent")})
	case OpenWatchdog:
		if err := w.failed("watchdog"); err != nil {
			return WatchdogDone{Err: err}
		}
		w.timeout = max(a.Timeout, w.slow["watchdog"])
		w.pet()
		return WatchdogDone{Timeout: w.timeout, Pretimeout: w.early}
	case PetWatchdog:
		if err := w.failed("pet"); err != nil {
			return WatchdogDone{Petted: true, Timeout: w.timeout, Pretimeout: w.early, Err: err}
		}
		w.pet()
	case Stopped:
		if w.node.Clear() {
			w.petted = time.Time{} // it is stopped
		}
	case Begin, End, SendAdvert, ArmGate, ShutGate, Announce, Notify, Publish, Reply, Respond, StoreStandby, StoreWitness, Tell, WriteFencing:
	}
	return nil
}

// pet makes the watchdog count anew.
func (w *world) pet() {
	at := w.now
	w.petted = at
	bark := func(after time.Duration, what string) {
		w.after(after, func() {
			if w.petted.Equal(at) {
				w.trace(what)
			}
		})
	}
	if bark(w.timeout, "THE WATCHDOG RESETS THIS MACHINE"); w.early > 0 {
		bark(w.timeout-w.early, "THE WATCHDOG MAKES THE KERNEL PANIC")
	}
}

// sighting is another device that speaks for the first address of VI_1.
func sighting(claim, mac string) AddressSeen {
	seen := AddressSeen{Claim: claim}
	seen.Station.MAC, seen.Station.Address = mac, testInstance("VI_1", 51).VRRP.Addresses[0]
	return seen
}

// question lets a peer answer, after a moment.
func (w *world) question(r arbiter.Request) {
	p := w.peers[r.To]
	if p == nil || !p.reports && !p.answers {
		return
	}
	a := arbiter.Answer{ID: r.ID, From: p.name, To: r.From, Claim: r.Claim}
	cr, _ := p.report.Claim(r.Claim)
	switch r.Kind {
	case arbiter.RequestHolds:
		a.Yes, a.Token = cr.Holds, cr.Token
		a.Takes = p.takes
	case arbiter.RequestPromise:
		if p.promises == "nothing" {
			return
		}
		if a.Yes = p.promises == "yes"; !a.Yes {
			a.Why = "this node holds it"
		}
	case arbiter.RequestHandover, arbiter.RequestReleased:
		a.Yes = true
	}
	w.after(time.Millisecond, func() { w.step(PeerAnswered{Answer: a, Path: arbiter.Path{Via: p.via}}) })
}

func (w *world) askWitness(op witness.Operation) {
	if !w.up {
		w.after(op.Timeout, func() { w.step(WitnessDone{ID: op.ID, Err: errors.New("no answer")}) })
		return
	}
	w.after(time.Millisecond, func() {
		out := w.store.do(op.Swap)
		w.watch()
		w.after(time.Millisecond, func() { w.step(WitnessDone{ID: op.ID, Outcome: out}) })
	})
}

// watch brings what the witness has to all who watch it.
func (w *world) watch() {
	if w.cfg.Mode != arbiter.ModeLease || !w.up {
		return
	}
	o := w.store.observe()
	w.after(time.Millisecond, func() { w.step(WitnessSeen{Observation: o}) })
	for _, name := range slices.Sorted(maps.Keys(w.peers)) {
		if p := w.peers[name]; p.leasing {
			p.lease.Observe(w.now, o)
			p.lease.Trust(w.now)
			w.serve(p)
		}
	}
}

// serve lets a peer's lease send what is due.
func (w *world) serve(p *peerSim) {
	if !p.leasing {
		return
	}
	if op, due := p.lease.Poll(w.now); due && w.up {
		w.after(time.Millisecond, func() {
			p.lease.Done(w.now, op.ID, w.store.do(op.Swap), nil, false)
			p.lease.Trust(w.now)
			w.watch()
			w.serve(p)
		})
		return
	} else if due {
		w.after(op.Timeout, func() {
			p.lease.Done(w.now, op.ID, witness.Outcome{}, errors.New("no answer"), false)
			w.serve(p)
		})
		return
	}
	if at := p.lease.Deadline(w.now); !at.IsZero() {
		w.after(max(at.Sub(w.now), time.Millisecond), func() { w.serve(p) })
	}
}

// say starts a peer's reports, every 200 ms.
func (w *world) say(p *peerSim) {
	if p.reports {
		w.tell(p)
		return
	}
	p.reports = true
	var again func()
	again = func() {
		if p.reports {
			w.tell(p)
			w.after(reportEvery, again)
		}
	}
	again()
}

func (w *world) tell(p *peerSim) {
	p.report.Seq++
	r := p.report
	if w.cfg.Mode == arbiter.ModeLease && !r.Witness {
		r.Store = cmp.Or(p.sees, w.store.id)
	}
	r.Claims = slices.Clone(r.Claims)
	w.step(PeerReport{Report: r, Path: arbiter.Path{Via: p.via}})
}

// claims changes what a peer says of a claim.
func (p *peerSim) claim(name string) *arbiter.ClaimReport {
	for i := range p.report.Claims {
		if p.report.Claims[i].Claim == name {
			return &p.report.Claims[i]
		}
	}
	p.report.Claims = append(p.report.Claims, arbiter.ClaimReport{
		Claim: name, State: vrrp.StateBackup.String(), Priority: 140, Address: p.addr.String(),
	})
	return &p.report.Claims[len(p.report.Claims)-1]
}

// advertise sends a peer's adverts for all instances of the node, now and from now on.
func (w *world) advertise(p *peerSim, priority uint8) {
	running := p.priority != 0
	p.priority = priority
	if running {
		return
	}
	var again func()
	again = func() {
		if p.priority != 0 {
			w.hear(p, p.priority)
			w.after(w.cfg.Claims[0].Instances[0].VRRP.AdvertInterval, again)
		}
	}
	again()
}

// hear brings one advert of a peer to each instance.
func (w *world) hear(p *peerSim, priority uint8) {
	for _, in := range w.node.instances() {
		w.step(Advert{Instance: in.name(), Source: p.addr, Packet: vrrp.Packet{
			Version: in.cfg.VRRP.Version, VRID: in.cfg.VRRP.VRID, Priority: priority,
			AdvertInterval: in.cfg.VRRP.AdvertInterval, Addresses: in.cfg.VRRP.Addresses,
		}})
	}
}

// store is an etcd as far as package witness can tell.
type store struct {
	id       uint64
	revision int64
	nodes    map[string]witness.Versioned[witness.NodeRecord]
	claims   map[string]witness.Versioned[witness.ClaimRecord]
}

func (s *store) wipe(id uint64) {
	s.id, s.revision = id, 1
	s.nodes = map[string]witness.Versioned[witness.NodeRecord]{}
	s.claims = map[string]witness.Versioned[witness.ClaimRecord]{}
}

func (s *store) do(swap witness.Swap) witness.Outcome {
	done := true
	for name, version := range swap.IfNodes {
		done = done && s.nodes[name].Version == version
	}
	for name, version := range swap.IfClaims {
		done = done && s.claims[name].Version == version
	}
	if done && len(swap.Nodes)+len(swap.Claims) > 0 {
		s.revision++
		for _, r := range swap.Nodes {
			s.nodes[r.Node] = witness.Versioned[witness.NodeRecord]{Version: s.revision, Record: r}
		}
		for _, r := range swap.Claims {
			s.claims[r.Claim] = witness.Versioned[witness.ClaimRecord]{Version: s.revision, Record: r}
		}
	}
	return witness.Outcome{Done: done, Observation: s.observe()}
}

func (s *store) put(r witness.ClaimRecord) {
	s.revision++
	s.claims[r.Claim] = witness.Versioned[witness.ClaimRecord]{Version: s.revision, Record: r}
}

func (s *store) observe() witness.Observation {
	return witness.Observation{ClusterID: s.id, Revision: s.revision, Complete: true, Nodes: maps.Clone(s.nodes), Claims: maps.Clone(s.claims)}
}

// describe says an action in words; nothing for those that a reader can do without. It
// is exhaustive on purpose.
func describe(a Action) string {
	until := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return fmt.Sprintf(" until %.3f", seconds(t))
	}
	switch a := a.(type) {
	case Begin:
		return a.Claim + ": begin"
	case End:
		return a.Claim + ": end"
	case SendAdvert:
		return fmt.Sprintf("%s: advert, priority %d", a.Instance, a.Packet.Priority)
	case StoreToken:
		return fmt.Sprintf("%s: store token %d", a.Claim, a.Token)
	case StoreLeft:
		return fmt.Sprintf("store that this node left: %t", a.Left)
	case StoreWitness:
		return "" // each story would begin with it
	case StoreStandby:
		return fmt.Sprintf("store standby: %t", a.On)
	case OpenWatchdog:
		return fmt.Sprintf("open the watchdog for %v", a.Timeout)
	case PetWatchdog:
		return "pet the watchdog" + until(a.By)
	case ArmGate:
		return a.Claim + ": arm gate" + until(a.Until)
	case ShutGate:
		return a.Claim + ": shut gate"
	case AddAddresses:
		return a.Claim + ": addresses on" + until(a.Until)
	case RemoveAddresses:
		return a.Claim + ": addresses off"
	case Announce:
		return fmt.Sprintf("%s: announce %d", a.Instance, a.Count)
	case StartGuards:
		return fmt.Sprintf("%s: start guards%s, token %d", a.Claim, always(a.Always), a.Token)
	case StopGuards:
		return fmt.Sprintf("%s: %s guards%s", a.Claim, map[bool]string{false: "stop", true: "kill"}[a.Kill], always(a.Always))
	case Notify:
		kind := "instance"
		if a.Group {
			kind = "group"
		}
		return fmt.Sprintf("%s: notify %s %s, priority %d, token %d", a.Name, kind, a.State, a.Priority, a.Token)
	case Publish:
		return describeReport(a.Report)
	case Question:
		return describeRequest(a.Request)
	case Reply:
		return strings.TrimSpace(fmt.Sprintf("%s: answer %s: %t %s", a.Answer.Claim, a.Answer.To, a.Answer.Yes, a.Answer.Why))
	case Respond:
		if a.Err != nil {
			return fmt.Sprintf("refuse: %v", a.Err)
		}
		return "respond: " + a.Text
	case ShootPeer:
		return "switch " + a.Peer + " off"
	case WriteFencing:
		return describeFencing(a.Record)
	case AskReference:
		return "ask the reference"
	case ProbeAddresses:
		return a.Claim + ": ask the link who has its addresses"
	case AskWitness:
		return describeSwap(a.Operation.Swap)
	case Tell:
		what := a.Claim
		if what != "" {
			what += ": "
		}
		return fmt.Sprintf("%s%s %s (%s)", what, [...]string{"debug", "info", "WARNING"}[a.Level], a.Text, a.Why)
	case Stopped:
		return "stopped"
	}
	panic(fmt.Sprintf("unknown action %T", a))
}

func always(is bool) string {
	if is {
		return " (always)"
	}
	return ""
}

func describeReport(r arbiter.Report) string {
	var parts []string
	for _, c := range r.Claims {
		part := fmt.Sprintf("%s %s token %d", c.Claim, c.State, c.Token)
		if c.Holds {
			part += ", holds"
		}
		if c.Guards {
			part += ", guards"
		}
		if c.Barred != "" {
			part += ", barred"
		}
		parts = append(parts, part)
	}
	text := said + strings.Join(parts, "; ")
	if r.Leaving {
		text += "; leaving"
	}
	if r.Left {
		text += " for good"
	}
	return text
}

func describeRequest(r arbiter.Request) string {
	text := fmt.Sprintf("%s: ask %s ", r.Claim, r.To)
	switch r.Kind {
	case arbiter.RequestHolds:
		return text + "whether it holds it"
	case arbiter.RequestPromise:
		return text + "for a promise"
	case arbiter.RequestHandover:
		return text + "to hand over"
	case arbiter.RequestReleased:
		text = fmt.Sprintf("%s: tell %s that it is released for %q", r.Claim, r.To, r.For)
		if r.Unsettled {
			text += ", unsettled"
		}
		return text
	}
	return text + fmt.Sprint(r.Kind)
}

func unsettled(c witness.ClaimRecord) string {
	if c.Unsettled {
		return ", unsettled"
	}
	return ""
}

// describeSwap leaves plain renewals out.
func describeSwap(s witness.Swap) string {
	var parts []string
	for _, c := range s.Claims {
		switch {
		case !c.Released:
			parts = append(parts, fmt.Sprintf("take %s, token %d", c.Claim, c.Token))
		case c.To == "":
			parts = append(parts, "release "+c.Claim+unsettled(c))
		default:
			parts = append(parts, fmt.Sprintf("release %s to %s%s", c.Claim, c.To, unsettled(c)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "ask the witness: " + strings.Join(parts, "; ")
}

func seconds(t time.Time) float64 { return t.Sub(testStart).Seconds() }

type worldItem struct {
	at    time.Time
	order int
	do    func()
}

// worldQueue is a heap of what is to happen.
type worldQueue []worldItem

func (q worldQueue) Len() int { return len(q) }
func (q worldQueue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q worldQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *worldQueue) Push(x any)   { *q = append(*q, x.(worldItem)) }
func (q *worldQueue) Pop() any {
	old := *q
	it := old[len(old)-1]
	*q = old[:len(old)-1]
	return it
}

// describeFencing says how a fencing stands: its cause and result, the steps with their
// times in milliseconds, and how it was cleared.
func describeFencing(r fencing.Record) string {
	text := fmt.Sprintf("%s: ledger: %s, token %d, %s", r.Claim, r.Cause, r.Token, r.Result)
	for _, s := range r.Actions {
		text += fmt.Sprintf("; %s %d", s.What, s.AtMS)
		if s.Error != "" {
			text += " FAILED"
		}
	}
	if r.To != "" {
		text += "; in favour of " + r.To
	}
	if r.Cleared != nil {
		text += fmt.Sprintf("; cleared by %s at %d", r.Cleared.By, r.Cleared.AtMS)
	}
	return text
}
