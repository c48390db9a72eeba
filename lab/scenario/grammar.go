package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// The sections of a file, in the order in which they stand.
const (
	nameSection      = "scenario"
	textSection      = "text"
	topologySection  = "topology"
	configureSection = "configure"
	fileSection      = "file"
	stepsSection     = "steps"
	expectSection    = "expect"
)

func sections() []string {
	return []string{nameSection, textSection, topologySection, configureSection, fileSection, stepsSection, expectSection}
}

// stepForms returns how each step is written.
func stepForms() map[Verb]form {
	return map[Verb]form{
		Start: "start [HOST]", Stop: "stop HOST", Kill: "kill HOST", Freeze: "freeze HOST", Thaw: "thaw HOST",
		KillWorker: "kill-worker NODE", FreezeWorker: "freeze-worker NODE", KillGuardian: "kill-guardian NODE",
		EndService: "kill-service NODE", HangService: "hang-service NODE", BreakService: "break-service NODE",
		FlushRules: "flush-rules NODE", Assign: "assign NODE", Fill: "fill-disk HOST", PowerOff: "power-off HOST",
		SlowDisk: "slow-disk HOST TIME", MendDisk: "mend-disk HOST", Wipe: "wipe HOST",
		Unplug: "unplug HOST [LINK]", Plug: "plug HOST [LINK]", Flap: "flap HOST [LINK] for TIME",
		LinkDown: "link-down HOST [LINK]", LinkUp: "link-up HOST [LINK]",
		Cut: "cut HOST PEER", Join: "join HOST PEER", Block: "block TRAFFIC HOST ARROW PEER", Unblock: "unblock HOST PEER",
		Drop: "drop HOST [SHARE of] TRAFFIC [WAY] [with PEER]", Allow: "allow HOST",
		Forge: "forge HOST for TIME", Load: "load HOST for TIME", Lead: "lead ETCD",
		Handover: "handover NODE [of CLAIM] [to PEER]", StandbyOn: "standby-on NODE", StandbyOff: "standby-off NODE",
		FenceNow: "fence-now NODE [of CLAIM]", FenceClear: "fence-clear NODE", TakeOver: "take-over NODE",
		Edit: "edit NODE OLD NEW", Reload: "reload NODE", Install: "install NODE [SYSTEM]",
		Clock: "clock JUMP", MarkReady: "ready", Hold: "hold TIME [LONGER]", Phase: "phase TIME",
		Await: "await HOST EVENT [of CLAIM] [for TIME] within LIMIT",
	}
}

// beginForm stands for the four steps that scenarios begin with.
const beginForm form = "begin NODE"

func hostsOf(roles ...Role) func(*Scenario) []string {
	return func(s *Scenario) []string {
		var names []string
		for _, h := range s.Hosts {
			if len(roles) == 0 || slices.Contains(roles, h.Role) {
				names = append(names, h.Name)
			}
		}
		return names
	}
}

func oneOf[W ~string](words ...W) func(*Scenario) []string {
	return func(*Scenario) []string {
		texts := make([]string, len(words))
		for i, w := range words {
			texts[i] = string(w)
		}
		return texts
	}
}

// name is a slot for a word that a T keeps as it is.
func name[T any, W ~string](means string, words func(*Scenario) []string, of func(*T) *W) slot[T] {
	return slot[T]{
		means: means, words: words,
		set: func(v *T, word string) string { *of(v) = W(word); return "" },
		get: func(v *T) string { return string(*of(v)) },
	}
}

// length is a slot for a time.
func length[T any](of func(*T) *time.Duration) slot[T] {
	return slot[T]{
		means: "a time",
		set: func(v *T, word string) string {
			d, err := time.ParseDuration(word)
			if err != nil || d <= 0 || d > 24*time.Hour {
				return "write a number and a unit, as in 250ms, 1.5s or 2m"
			}
			*of(v) = d
			return ""
		},
		get: func(v *T) string { return duration(*of(v)) },
	}
}

// flag is a slot for a word that is there or not.
func flag[T any](word string, of func(*T) *bool) slot[T] {
	return slot[T]{
		means: quote(word), words: oneOf(word),
		set: func(v *T, _ string) string { *of(v) = true; return "" },
		get: func(v *T) string {
			if *of(v) {
				return word
			}
			return ""
		},
	}
}

// duration returns a time as short as it can be written, "" for none.
func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func stepSlots() slots[Step] {
	host := func(s *Step) *string { return &s.Host }
	return slots[Step]{
		"HOST":    name("a host", hostsOf(), host),
		"NODE":    name("a node", hostsOf(Node), host),
		"ETCD":    name("a member of the etcd", hostsOf(Etcd), host),
		"PEER":    name("a host", hostsOf(), func(s *Step) *string { return &s.Peer }),
		"TRAFFIC": name("a kind of traffic", oneOf(VRRPAdverts, MeshTraffic, WitnessTraffic, IPTraffic, ARPTraffic, AllTraffic, UnaskedTraffic), func(s *Step) *Traffic { return &s.Traffic }),
		"WAY":     name("a direction", oneOf(In, Out), func(s *Step) *Way { return &s.Way }),
		"EVENT":   name("an event", oneOf(Answers, Alone, Serves, Silent, Ended), func(s *Step) *Event { return &s.Event }),
		"TIME":    length(func(s *Step) *time.Duration { return &s.For }),
		"LIMIT":   length(func(s *Step) *time.Duration { return &s.Within }),
		"LONGER":  flag("or-longer", func(s *Step) *bool { return &s.Free }),
		"ARROW":   arrow(),
		"LINK":    name("an interface", oneOf(FirstLink, SecondLink), func(s *Step) *string { return &s.Link }),
		"CLAIM":   name("a claim", claims, func(s *Step) *string { return &s.Claim }),
		"SYSTEM":  name("a system", oneOf(Systems()...), func(s *Step) *System { return &s.System }),
		"OLD":     quoted(func(s *Step) *string { return &s.Old }),
		"NEW":     quoted(func(s *Step) *string { return &s.New }),
		"SHARE":   share(),
		"JUMP":    jump(),
	}
}

func claims(s *Scenario) []string {
	var names []string
	for _, c := range s.Claims {
		names = append(names, c.Name)
	}
	return names
}

// quoted is a slot for any text.
func quoted(of func(*Step) *string) slot[Step] {
	s := name("a text in double quotes", nil, of)
	s.get = func(step *Step) string { return strconv.Quote(*of(step)) }
	return s
}

// share is a slot for a part of the traffic.
func share() slot[Step] {
	return slot[Step]{
		means: "a share, as in 30%",
		words: func(*Scenario) []string {
			var all []string
			for n := 1; n < 100; n++ {
				all = append(all, strconv.Itoa(n)+"%")
			}
			return all
		},
		set: func(s *Step, word string) (wrong string) {
			s.Percent, _ = strconv.Atoi(strings.TrimSuffix(word, "%")) // one of the words
			return ""
		},
		get: func(s *Step) string {
			if s.Percent == 0 {
				return ""
			}
			return strconv.Itoa(s.Percent) + "%"
		},
	}
}

// maxJump bounds one jump of the wall clock: ten years.
const maxJump = 10 * 365 * 24 * time.Hour

// jump is how far the wall clock jumps, and where to.
func jump() slot[Step] {
	return slot[Step]{
		means: "a jump of the clock",
		set: func(s *Step, word string) string {
			d, err := time.ParseDuration(word)
			if err != nil || d == 0 || d.Abs() > maxJump || !strings.ContainsAny(word[:1], "+-") {
				return "write a sign, a number and a unit, as in +24h or -5s, at most ten years of 8760h"
			}
			s.For = d
			return ""
		},
		get: func(s *Step) string {
			if s.For < 0 {
				return "-" + duration(-s.For)
			}
			return "+" + duration(s.For)
		},
	}
}

// arrow is the direction of a Block step, between the two hosts.
func arrow() slot[Step] {
	arrows := map[Way]string{Both: "<->", Out: "->", In: "<-"}
	return slot[Step]{
		means: "a direction", words: oneOf("->", "<-", "<->"),
		set: func(s *Step, word string) string {
			for way, a := range arrows {
				if a == word {
					s.Way = way
				}
			}
			return ""
		},
		get: func(s *Step) string { return arrows[s.Way] },
	}
}

// topologyForms returns how each line of a topology is written. All are read into a
// topologyLine, of which each uses a part.
func topologyForms() []form {
	return []form{
		"node NAME ADDRESS [and SECOND] priority NUMBER", "witness NAME ADDRESS [and SECOND]",
		"etcd NAME ADDRESS [and SECOND]", "server NAME ADDRESS [and SECOND]", "client NAME ADDRESS [and SECOND]",
		"claim NAME VIP [prefers NODE] [and COUNT more]", "group NAME", "service KIND", "begin-with SYSTEM",
	}
}

type topologyLine struct {
	host   Host
	claim  Claim
	name   string
	number int
	web    bool
	begin  System
}

// Bounds of what a scenario may declare.
const (
	maxName  = 12 // of a host: an interface of the switch is named for it
	maxSteps = 500
	maxExtra = 1000 // addresses
)

func topologySlots() slots[topologyLine] {
	return slots[topologyLine]{
		"NAME": {
			means: "a name",
			set: func(l *topologyLine, word string) string {
				if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || len(word) > maxName {
					return fmt.Sprintf("write at most %d letters, digits and underscores", maxName)
				}
				l.name, l.host.Name, l.claim.Name = word, word, word
				return ""
			},
			get: func(l *topologyLine) string { return l.name },
		},
		"ADDRESS": address(func(l *topologyLine) *netip.Addr { return &l.host.Addr }),
		"SECOND":  address(func(l *topologyLine) *netip.Addr { return &l.host.Second }),
		"NUMBER":  number("a priority", 254, func(l *topologyLine) *int { return &l.number }),
		"COUNT":   number("a number of addresses", maxExtra, func(l *topologyLine) *int { return &l.claim.Extra }),
		"VIP": {
			means: "an address with the length of its network",
			set: func(l *topologyLine, word string) string {
				vip, err := netip.ParsePrefix(word)
				if err != nil || !vip.Addr().Is4() {
					return "write it as in 10.77.0.100/24"
				}
				l.claim.VIP = vip
				return ""
			},
			get: func(l *topologyLine) string { return l.claim.VIP.String() },
		},
		"NODE":   name("a node", hostsOf(Node), func(l *topologyLine) *string { return &l.claim.Prefers }),
		"KIND":   flag("nginx", func(l *topologyLine) *bool { return &l.web }),
		"SYSTEM": name("a system", oneOf(Systems()...), func(l *topologyLine) *System { return &l.begin }),
	}
}

// address is a slot for an IPv4 address.
func address[T any](of func(*T) *netip.Addr) slot[T] {
	return slot[T]{
		means: "an address",
		set: func(v *T, word string) string {
			addr, err := netip.ParseAddr(word)
			if err != nil || !addr.Is4() {
				return "write an IPv4 address, as in 10.77.0.11"
			}
			*of(v) = addr
			return ""
		},
		get: func(v *T) string {
			if !of(v).IsValid() {
				return ""
			}
			return of(v).String()
		},
	}
}

// number is a slot for a number from 1 on.
func number[T any](means string, most int, of func(*T) *int) slot[T] {
	return slot[T]{
		means: means,
		set: func(v *T, word string) string {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 || n > most {
				return fmt.Sprintf("write a number from 1 to %d", most)
			}
			*of(v) = n
			return ""
		},
		get: func(v *T) string {
			if *of(v) == 0 {
				return ""
			}
			return strconv.Itoa(*of(v))
		},
	}
}

// expectForms returns how each line of an expectation is written.
func expectForms() []form {
	return []form{
		"two-holders [NEVER] [at-least TWO] [at-most TWOMOST]",
		"silent-address at-most SILENT",
		"two-services ALLOWED",
		"nobody [at-least NOBODYLEAST] [at-most NOBODY]",
		"gap at-most GAP",
		"unserved at-most UNSERVED",
		"takeover within TAKEOVER",
		"serving within SERVING",
		"changes CHANGES",
		"holder HOLDER [and SECOND] [and THIRD]",
		"group TOGETHER",
		"ledger FENCINGS",
	}
}

func expectSlots() slots[verify.Expect] {
	type expect = verify.Expect
	return slots[expect]{
		"NEVER":       never(),
		"TWO":         length(func(e *expect) *time.Duration { return &e.TwoAtLeast }),
		"TWOMOST":     length(func(e *expect) *time.Duration { return &e.TwoAtMost }),
		"SILENT":      length(func(e *expect) *time.Duration { return &e.SilentAddress }),
		"ALLOWED":     flag("allowed", func(e *expect) *bool { return &e.TwoServices }),
		"NOBODYLEAST": length(func(e *expect) *time.Duration { return &e.NobodyAtLeast }),
		"NOBODY":      length(func(e *expect) *time.Duration { return &e.Nobody }),
		"GAP":         length(func(e *expect) *time.Duration { return &e.Gap }),
		"UNSERVED":    length(func(e *expect) *time.Duration { return &e.Unserved }),
		"TAKEOVER":    length(func(e *expect) *time.Duration { return &e.Takeover }),
		"SERVING":     length(func(e *expect) *time.Duration { return &e.Serving }),
		"CHANGES":     changes(),
		"FENCINGS":    ledger(),
		"TOGETHER":    flag("together", func(e *expect) *bool { return &e.Whole }),
		"HOLDER":      holder(0), "SECOND": holder(1), "THIRD": holder(2),
	}
}

// never says that two never hold, which is what is expected when nothing else is said.
func never() slot[verify.Expect] {
	return slot[verify.Expect]{
		means: quote("never"), words: oneOf("never"),
		set: func(*verify.Expect, string) string { return "" },
		get: func(e *verify.Expect) string {
			if e.TwoAtLeast == 0 && e.TwoAtMost == 0 {
				return "never"
			}
			return ""
		},
	}
}

// claimForm begins what is expected of another claim than the first.
const claimForm form = "claim CLAIM"

// ledger is what the nodes' ledgers of fencings hold.
func ledger() slot[verify.Expect] {
	return slot[verify.Expect]{
		means: "what ledgers of fencings hold",
		set: func(e *verify.Expect, word string) string {
			entries := strings.Split(word, ",")
			slices.Sort(entries)
			if e.Ledger = strings.Join(entries, ","); word == "none" {
				return ""
			}
			for _, entry := range entries {
				if node, cause, ok := strings.Cut(entry, ":"); !ok || node == "" || cause == "" {
					return `write NODE:CAUSE with commas between, or "none"`
				}
			}
			return ""
		},
		get: func(e *verify.Expect) string { return e.Ledger },
	}
}

func changes() slot[verify.Expect] {
	return slot[verify.Expect]{
		means: "a number of changes",
		set: func(e *verify.Expect, word string) string {
			if e.Stays = word == "none"; e.Stays {
				return ""
			}
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 || n > maxSteps {
				return `write how often the holder changes, or "none"`
			}
			e.Moves = n
			return ""
		},
		get: func(e *verify.Expect) string {
			switch {
			case e.Stays:
				return "none"
			case e.Moves > 0:
				return strconv.Itoa(e.Moves)
			}
			return ""
		},
	}
}

// holder is the nth of those who hold at the end.
func holder(n int) slot[verify.Expect] {
	const and = " and "
	return slot[verify.Expect]{
		means: "a node", words: func(s *Scenario) []string { return append(hostsOf(Node)(s), nobody) },
		set: func(e *verify.Expect, word string) string {
			if n > 0 {
				word = e.Holder + and + word
			}
			e.Holder = word
			return ""
		},
		get: func(e *verify.Expect) string {
			if names := strings.Split(e.Holder, and); n < len(names) {
				return names[n]
			}
			return ""
		},
	}
}
