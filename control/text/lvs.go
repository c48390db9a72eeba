package text

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/solovip/solovip/lvs"
)

// LVS returns what `solovip lvs list` prints: each virtual server with its real servers, and
// what the kernel says. width is the number of columns.
func LVS(s lvs.Snapshot, width int) string {
	p := newPage(width)
	for _, v := range s.Servers {
		p.line("", fmt.Sprintf("%s: %s for %s", v.Name, quorum(v), span(v.SinceMS)))
		p.line("  services  ", strings.Join(v.Services, ", ")+", "+v.Scheduler)
		if v.Sorry != "" {
			p.line("  sorry     ", v.Sorry+sorryUse(v))
		}
		if v.Suspended {
			p.line("  suspended ", "checks rest while none of its addresses is on this host")
		}
		rows := [][]string{{"  REAL SERVER", "STATE", "WEIGHT", "CONNECTIONS", "OPERATOR", "WHY"}}
		for _, r := range v.Reals {
			rows = append(rows, []string{"  " + r.Addr.String(), state(r), weight(r), connections(r.Connections), override(r), r.Why})
		}
		p.table(rows)
		p.gap()
	}
	p.kernel(s)
	return p.out.String()
}

// LVSStatus returns what `solovip status` says of virtual servers: how many there are, and
// everything about them that is not as configured.
func LVSStatus(s lvs.Snapshot, width int) string {
	p := newPage(width)
	up, all, good := 0, 0, 0
	for _, v := range s.Servers {
		if v.Quorum {
			good++
		}
		for _, r := range v.Reals {
			all++
			if r.Up {
				up++
			}
		}
	}
	p.line("balances ", fmt.Sprintf("%d of %d virtual servers have quorum, %d of %d real servers are up: 'solovip lvs list' shows them", good, len(s.Servers), up, all))
	for _, v := range s.Servers {
		if !v.Quorum {
			p.line("  ", v.Name+": "+quorum(v)+" for "+span(v.SinceMS)+sorryUse(v))
		}
		for _, r := range v.Reals {
			if !r.Up && r.Why != "" {
				p.line("  ", fmt.Sprintf("%s: real server %s is down for %s: %s", v.Name, r.Addr, span(r.SinceMS), r.Why))
			}
			if r.Override != "" {
				p.line("  ", fmt.Sprintf("%s: OPERATOR says %s of real server %s, until 'solovip lvs enable %s'", v.Name, override(r), r.Addr, r.Addr))
			}
		}
	}
	p.kernel(s)
	return p.out.String()
}

// kernel writes what is wrong with the kernel's table.
func (p *page) kernel(s lvs.Snapshot) {
	if s.Trouble != "" {
		p.line("IPVS     ", "NOT AS SHOWN: "+s.Trouble)
	} else if !s.Known {
		p.line("IPVS     ", "its table is not known yet: what is shown is wanted")
	}
	if s.Repairs > 0 {
		p.line("repairs  ", fmt.Sprintf("%d times somebody else had changed what is ours in the table of IPVS", s.Repairs))
	}
	if len(s.Foreign) > 0 {
		p.line("others   ", "services in the table of IPVS that are not configured here: "+strings.Join(s.Foreign, ", "))
	}
	if role := daemon(s); role != "" {
		p.line("sync     ", "connections are synchronised as "+role)
	}
}

func daemon(s lvs.Snapshot) string {
	switch {
	case s.Master && s.Backup:
		return "master and backup"
	case s.Master:
		return "master"
	case s.Backup:
		return "backup"
	}
	return ""
}

func quorum(v lvs.ServerStatus) string {
	word := "quorum"
	if !v.Quorum {
		word = "NO QUORUM"
	}
	return fmt.Sprintf("%s (weight %d, needed %d)", word, v.Weight, v.Needed)
}

// sorryUse says whether the sorry server is in use.
func sorryUse(v lvs.ServerStatus) string {
	if v.SorryUsed {
		return ", the sorry server gets the connections"
	}
	return ""
}

func state(r lvs.RealStatus) string {
	if r.Up {
		return "up " + span(r.SinceMS)
	}
	return "DOWN " + span(r.SinceMS)
}

// weight says what weight a real server has in the kernel's table, and what it would be.
func weight(r lvs.RealStatus) string {
	text := "-"
	if r.InTable {
		text = strconv.Itoa(r.Weight)
	}
	if !r.InTable || r.Weight != r.Target {
		text += fmt.Sprintf(" of %d", r.Target)
	}
	if r.Growing {
		text += " growing"
	}
	return text
}

func connections(c *lvs.Connections) string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("%d active, %d not", c.Active, c.Inactive)
}

func override(r lvs.RealStatus) string {
	if r.Override == lvs.OverrideWeight.String() {
		return fmt.Sprintf("weight %d", r.Target)
	}
	return r.Override
}
