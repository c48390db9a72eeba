package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/solovip/solovip/lab/verify"
)

// maxHosts is how many hosts a scenario may have.
const maxHosts = 16

// nobody is the holder when no node is.
const nobody = "nobody"

// Validate reports the first mistake in a scenario: a network that does not fit together,
// a reference to no host, a wait without a deadline, a verb without what it needs.
func (s Scenario) Validate() error {
	if s.Name == "" || s.Text == "" {
		return errors.New("a scenario needs a name and a text")
	}
	for _, validate := range []func() error{s.validateHosts, s.validateSteps, s.validateExpect} {
		if err := validate(); err != nil {
			return fmt.Errorf("scenario %s: %w", s.Name, err)
		}
	}
	return nil
}

func (s Scenario) validateHosts() error {
	switch {
	case len(s.Claims) == 0 || !s.VIP().IsValid():
		return errors.New("a claim with a VIP is needed")
	case len(s.Named(Node)) < 2:
		return errors.New("two nodes are needed")
	case len(s.Named(Client)) != 1:
		return errors.New("one client is needed")
	case len(s.Hosts) > maxHosts:
		return fmt.Errorf("there are more than %d hosts", maxHosts)
	case len(s.Named(Witness)) > 0 && len(s.Named(Etcd)) > 0:
		return errors.New("the witness is either solovip's or an etcd, not both")
	}
	taken := map[netip.Addr]string{}
	take := func(addr netip.Addr, who string) error {
		if other, ok := taken[addr]; ok {
			return fmt.Errorf("%s and %s both have %v", other, who, addr)
		}
		taken[addr] = who
		return nil
	}
	for _, h := range s.Hosts {
		if err := take(h.Addr, h.Name); err != nil {
			return err
		}
		if !s.VIP().Masked().Contains(h.Addr) {
			return fmt.Errorf("%v of %s is not in the network %v of the VIP", h.Addr, h.Name, s.VIP().Masked())
		}
		if h.Second.IsValid() {
			if err := take(h.Second, h.Name); err != nil {
				return err
			}
		}
		if h.Role == Node && (h.Priority < 1 || h.Priority > 254) {
			return fmt.Errorf("%s needs a priority from 1 to 254", h.Name)
		}
	}
	if err := take(s.Named(Client)[0].Addr.Next(), "the lab, which asks by ARP with the address after the client's,"); err != nil {
		return err
	}
	for _, c := range s.Claims {
		if err := take(c.VIP.Addr(), "the claim "+c.Name); err != nil {
			return err
		}
		if client := s.Named(Client)[0]; !c.VIP.Masked().Contains(client.Addr) && !c.VIP.Masked().Contains(client.Second) {
			return fmt.Errorf("%v of the claim %s is in no network of the client", c.VIP, c.Name)
		}
	}
	return nil
}

func (s Scenario) validateSteps() error {
	if !slices.ContainsFunc(s.Steps, func(step Step) bool { return step.Do == MarkReady }) {
		return errors.New(`it is never ready: begin the steps with "begin NODE"`)
	}
	for i, step := range s.Steps {
		if err := s.validateStep(step); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, step.Do, err)
		}
	}
	return nil
}

func (s Scenario) validateExpect() error {
	if len(s.Expect) == 0 {
		return errors.New(`nothing is expected of any system: write "expect SYSTEM..."`)
	}
	for system, e := range s.Expect {
		if !slices.Contains(Systems(), system) {
			return fmt.Errorf("there is no system %q", system)
		}
		if e.Ledger != "" && !system.Solovip() {
			return fmt.Errorf("%s has no ledger of fencings", system)
		}
		for _, of := range slices.Concat([]verify.Expect{e}, e.Others) {
			if err := satisfiable(of); err != nil {
				return fmt.Errorf("what is expected of %s: %w", system, err)
			}
		}
		if slices.ContainsFunc(e.Others, func(of verify.Expect) bool { return of.Ledger != "" || of.Whole }) {
			return fmt.Errorf("what is expected of %s: ledger and group are about the whole run: write them above the first line with claim", system)
		}
		if e.Holder == "" || e.Holder == nobody {
			continue
		}
		for name := range strings.SplitSeq(e.Holder, " and ") {
			if h, ok := s.host(name); !ok || h.Role != Node {
				return fmt.Errorf("there is no node %q to hold at the end", name)
			}
		}
	}
	return nil
}

// satisfiable reports bounds that no run can keep. Two holders have an upper one always.
func satisfiable(e verify.Expect) error {
	switch {
	case e.TwoAtLeast > e.TwoAtMost:
		return errors.New("two-holders at-least so much needs an at-most that is not less: without one it is 0, so write one, as in at-most 1h")
	case e.Nobody > 0 && e.NobodyAtLeast > e.Nobody:
		return errors.New("nobody at-least is more than at-most: no run can keep to both")
	}
	return nil
}

func (s Scenario) validateStep(step Step) error {
	for _, name := range []string{step.Host, step.Peer} {
		if _, ok := s.host(name); name != "" && !ok {
			return fmt.Errorf("there is no host %q", name)
		}
	}
	if err := s.validateParts(step); err != nil {
		return err
	}
	switch step.Do {
	case Start, MarkReady:
		return nil
	case Stop, Kill, Freeze, Thaw, KillWorker, FreezeWorker, KillGuardian, EndService, HangService, BreakService, FlushRules, Assign, Fill, PowerOff, Unplug, Plug, Allow, Wipe, Lead, Handover, StandbyOn, StandbyOff, TakeOver,
		LinkDown, LinkUp, MendDisk, FenceNow, FenceClear, Reload, Install:
		return need(step.Host != "", "a host")
	case Edit:
		return need(step.Host != "" && step.Old != "", "a host and what to replace")
	case Forge, Flap, SlowDisk, Load:
		return need(step.Host != "" && step.For > 0, "a host and a length")
	case Cut, Join, Unblock:
		return need(step.Host != "" && step.Peer != "" && step.Host != step.Peer, "a host and a peer")
	case Block:
		return need(step.Host != "" && step.Peer != "" && step.Host != step.Peer && step.Traffic.words() != "", "a host, a peer and a known kind of traffic")
	case Drop:
		return need(step.Host != "" && step.Traffic.words() != "", "a host and a known kind of traffic")
	case Await:
		known := []Event{Answers, Alone, Serves, Silent, Ended}
		return need(step.Host != "" && step.Within > 0 && slices.Contains(known, step.Event), "a host, a known event and a deadline")
	case Clock:
		return need(step.For != 0 && step.For.Abs() <= maxJump, "a jump of at most ten years")
	case Hold, Phase:
		return need(step.For > 0, "a length")
	}
	return errors.New("unknown verb")
}

// validateParts reports a mistake in what some steps have beside hosts.
func (s Scenario) validateParts(step Step) error {
	switch {
	case step.Claim != "" && !slices.ContainsFunc(s.Claims, func(c Claim) bool { return c.Name == step.Claim }):
		return fmt.Errorf("there is no claim %q", step.Claim)
	case step.Link != "" && step.Link != FirstLink && step.Link != SecondLink:
		return fmt.Errorf("there is no interface %q", step.Link)
	case step.Percent < 0 || step.Percent > 99:
		return fmt.Errorf("%d %% of the traffic: want 1 to 99, or leave it out", step.Percent)
	case step.Traffic == UnaskedTraffic && (step.Do != Drop || step.Way != In || step.Percent != 0 || step.Peer != ""):
		return errors.New("what comes in unasked is dropped by a firewall, coming in, whole and whoever sends it")
	case step.Do == MendDisk && !slices.ContainsFunc(s.Steps, func(o Step) bool { return o.Do == SlowDisk && o.Host == step.Host }):
		return fmt.Errorf("the disk of %s is never slow", step.Host)
	}
	return nil
}

func need(ok bool, what string) error {
	if ok {
		return nil
	}
	return errors.New("needs " + what)
}
