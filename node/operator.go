package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/vrrp"
)

// handoverTo carries out an operator's handover, or says why not. The text says what
// happens now; the snapshot shows when it has happened.
func (n *Node) handoverTo(now time.Time, ev Handover) (text string, err error) {
	c := n.claims[ev.Claim]
	switch {
	case c == nil:
		return "", n.noClaim(ev.Claim)
	case c.phase != Held:
		holder, _ := n.knownHolder(now, c)
		if holder == "" {
			holder = "nobody known"
		}
		return "", fmt.Errorf("this node does not hold %s (it is held by %s): ask the node that does", ev.Claim, holder)
	}
	if n.lease != nil && n.lease.Unsettled(ev.Claim) {
		return "", fmt.Errorf("the witness is silent, and whether it has %s under this node's name is in doubt: nobody else could take it; try again once the witness answers", ev.Claim)
	}
	to := ev.To
	if to == "" {
		to = n.successor(now, c)
	} else if err := n.canTake(now, c, to); err != nil {
		return "", err
	}
	if to == "" && len(n.cfg.Peers) > 0 {
		return "", fmt.Errorf("no other node is ready to take %s: `solovip status` shows what each one says", ev.Claim)
	}
	c.to, c.yielded = to, true
	c.let(n, now, "an operator hands it over")
	if to == "" {
		return fmt.Sprintf("letting go of %s: whoever hears that first takes it", ev.Claim), nil
	}
	return fmt.Sprintf("handing %s over to %s", ev.Claim, to), nil
}

func (n *Node) noClaim(name string) error {
	return fmt.Errorf("there is no claim %q; there are: %s", name, strings.Join(n.claimNames(), ", "))
}

// canTake says why a node cannot take the claim; nil: it can.
func (n *Node) canTake(now time.Time, c *claim, name string) error {
	if !slices.Contains(n.cfg.Peers, name) {
		return fmt.Errorf("there is no node %q in the cluster; there are: %s", name, strings.Join(n.cfg.Peers, ", "))
	}
	p := n.peers[name]
	cr, ok := p.report.Claim(c.cfg.Name)
	switch {
	case p.seen.IsZero() || now.Sub(p.seen) > n.fresh || p.report.Leaving:
		return fmt.Errorf("%s is not heard: see `solovip status`", name)
	case !ok:
		return fmt.Errorf("%s does not know the claim %s: do the configurations differ?", name, c.cfg.Name)
	case cr.Barred != "":
		return fmt.Errorf("%s would not take %s: %s", name, c.cfg.Name, cr.Barred)
	case cr.State != vrrp.StateBackup.String():
		return fmt.Errorf("%s is not ready for %s: its state is %s", name, c.cfg.Name, cr.State)
	}
	return nil
}

// setStandby follows the operator's word. Claims that are held are given away by their
// next settling.
func (n *Node) setStandby(ev Standby) {
	n.cfg.Standby = ev.On
	n.emit(StoreStandby{On: ev.On})
	text := "standby is over: this node takes claims again"
	if ev.On {
		text = "standby: this node gives away what it holds and takes nothing"
	}
	n.tell(Info, "", text, "an operator said so")
	n.emit(Respond{ID: ev.ID, Text: text})
}
