package gate

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
)

// inherit reads what tables of this name guard and hush already.
func (g *Gate) inherit() error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.close()
	for _, l := range g.lasting() {
		left, err := c.members(l.set, l.kind)
		if err != nil && !isNotThere(err) {
			return err
		}
		for _, a := range left {
			l.memory[a] = true
		}
	}
	return nil
}

// lasting is a set whose elements have no timeouts, and what memory says is in it.
type lasting struct {
	set    *nftables.Set
	kind   kind
	memory map[netip.Addr]bool
}

func (g *Gate) lasting() []lasting {
	var all []lasting
	for _, p := range g.layout.pairs {
		all = append(all, lasting{p.vips, p.kind, g.vips})
		if p.hushed != nil {
			all = append(all, lasting{p.hushed, p.kind, g.hushed})
		}
	}
	return all
}

// Check compares what the kernel has with what it was told: tables, number of rules,
// guarded and hushed VIPs. Its error is ErrGone when something is not as it was made. Armed
// elements are not compared: they come and go by themselves, and Arm finds out.
func (g *Gate) Check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.check()
}

func (g *Gate) check() error {
	c, err := dial()
	if err != nil {
		return fmt.Errorf("check the gate: %w", err)
	}
	defer c.close()
	for _, t := range g.layout.tables {
		got, err := c.ListTableOfFamily(t.Name, t.Family)
		switch {
		case isNotThere(err):
			return fmt.Errorf("check the gate: table %s: %w", t.Name, ErrGone)
		case err != nil:
			return fmt.Errorf("check the gate: table %s: %w", t.Name, hint(err))
		case got.Flags != 0:
			return fmt.Errorf("check the gate: table %s is switched off (dormant): %w", t.Name, ErrGone)
		}
	}
	for _, l := range g.lasting() {
		got, err := c.members(l.set, l.kind)
		if isNotThere(err) {
			err = ErrGone
		}
		if err != nil {
			return fmt.Errorf("check the gate: set %s: %w", l.set.Name, err)
		}
		want := slices.DeleteFunc(sorted(l.memory), func(a netip.Addr) bool { return kindOf(a) != l.kind })
		if !slices.Equal(got, want) {
			return fmt.Errorf("check the gate: set %s has %s instead of %s: %w", l.set.Name, list(got), list(want), ErrGone)
		}
	}
	for _, ch := range g.layout.chains {
		rules, err := c.GetRules(ch.chain.Table, ch.chain)
		if err != nil {
			return fmt.Errorf("check the gate: chain %s: %w", ch.chain.Name, hint(err))
		}
		if len(rules) != len(ch.rules) {
			return fmt.Errorf("check the gate: chain %s has %d rules of %d: %w",
				ch.chain.Name, len(rules), len(ch.rules), ErrGone)
		}
	}
	return nil
}
