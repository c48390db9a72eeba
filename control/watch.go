package control

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/solovip/solovip/node"
)

const (
	// lookEvery is how often a watch looks for a change: the latest that one shows.
	lookEvery = 100 * time.Millisecond
	// tellEvery is how often a watch sends a line although nothing has changed, so that
	// ages and remaining times move and a dead daemon is noticed.
	tellEvery = time.Second
)

// watch sends a line for each change until the client or the daemon ends.
func watch(w http.ResponseWriter, r *http.Request, a *asker[node.Snapshot]) {
	snap, err := a.ask(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	// The request is read; from here on the client's silence is no fault.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var told essence
	var toldAt time.Time
	for {
		if is := essenceOf(snap); !is.equal(told) || time.Since(toldAt) >= tellEvery {
			line, err := json.Marshal(snap)
			if err != nil {
				panic("control: encode snapshot: " + err.Error()) // our own type always encodes
			}
			if write(w, append(line, '\n')) != nil {
				return // the client is gone or does not read
			}
			told, toldAt = is, time.Now()
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
		if snap, err = a.ask(r.Context()); err != nil {
			return // the client sees the stream end and says that the daemon is silent
		}
	}
}

// essence is what of a snapshot is worth a line at once when it changes: all but ages,
// remaining times, and sentences that have such in them.
type essence []byte

func (e essence) equal(other essence) bool { return bytes.Equal(e, other) }

func essenceOf(s node.Snapshot) essence {
	s.UptimeMS = 0
	if s.Witness != nil {
		w := *s.Witness
		w.AnsweredMS = 0
		s.Witness = &w
	}
	s.Peers = append([]node.PeerSnapshot{}, s.Peers...)
	for i := range s.Peers {
		p := &s.Peers[i]
		p.AgeMS, p.DirectMS, p.BeatMS = 0, 0, 0
	}
	s.Claims = append([]node.ClaimSnapshot{}, s.Claims...)
	for i := range s.Claims {
		c := &s.Claims[i]
		c.SinceMS, c.RemainingMS, c.HolderBy, c.Why, c.Permission = 0, 0, "", "", ""
		c.WitnessLost, c.PeersLost, c.Needs, c.Evidence = "", "", "", nil
		if c.Fenced != nil {
			f := *c.Fenced
			f.SinceMS, f.RemainingMS = 0, 0
			c.Fenced = &f
		}
		c.Instances = append([]node.InstanceSnapshot{}, c.Instances...)
		for j := range c.Instances {
			c.Instances[j].SinceMS = 0
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic("control: encode snapshot: " + err.Error()) // our own type always encodes
	}
	return b
}
