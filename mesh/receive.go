package mesh

import (
	"errors"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
)

// receive takes a message as it came from a peer. It neither blocks nor keeps b.
func (m *Mesh) receive(b []byte) {
	msg, err := parse(b)
	if errors.Is(err, errNewer) {
		m.counts.newer.Add(1)
		if m.admission.firstTime(source{why: "newer"}) {
			m.cfg.Logger.Warn("mesh message dropped: a member runs a newer version of solovip; upgrade this one, too")
		}
		return
	}
	if err != nil {
		m.counts.malformed.Add(1)
		m.cfg.Logger.Debug("mesh message dropped", "err", err)
		return
	}
	from := m.peer(msg.From)
	if from == nil {
		m.stranger(msg.From)
		return
	}
	switch msg.kind {
	case kindReports:
		m.receiveReports(from, msg)
	case kindRequest:
		m.receiveRequest(from, *msg.Request, msg.Run)
	case kindAnswer:
		m.receiveAnswer(from, *msg.Answer, msg.Run)
	}
}

// stranger counts a name that is no peer's, and logs it the first time.
func (m *Mesh) stranger(name string) {
	m.counts.stranger.Add(1)
	if m.admission.firstTime(source{name: name, why: "name"}) {
		m.cfg.Logger.Warn("mesh message dropped: its member is not in the cluster block; "+
			"the block must be the same on all members", "member", name)
	}
}

// receiveReports takes the reports that a peer sent: its own and those it heard.
func (m *Mesh) receiveReports(from *peer, msg message) {
	now := boottime.Now()
	var news []Event
	var strangers []string
	leaving := false
	m.mu.Lock()
	for _, r := range msg.Reports {
		via := ""
		switch {
		case r.Node == m.cfg.Name:
			continue
		case r.Node == from.Name:
			leaving = r.Leaving
		case m.peer(r.Node) == nil:
			strangers = append(strangers, r.Node)
			continue
		default:
			via = from.Name
		}
		if m.reports.see(r, via, now) {
			news = append(news, ReportSeen{Report: r, Path: arbiter.Path{Via: via}})
		}
	}
	raised := m.catchUp(msg.Yours)
	m.mu.Unlock()
	if raised != 0 {
		m.cfg.Logger.Info("a peer remembers a later run of this member; counting on from there",
			"peer", from.Name, "incarnation", raised)
	}
	for _, name := range strangers {
		m.stranger(name)
	}
	m.heard(from, now, leaving)
	for _, e := range news {
		m.deliver(e)
	}
}

// catchUp raises the incarnation when a peer knows a report of ours that is newer
// than any we sent, and returns the new one, else 0. Mesh.mu is held.
func (m *Mesh) catchUp(yours *stamp) uint64 {
	if yours == nil || m.own == nil || !yours.newer(stamp{max(m.own.Incarnation, m.floor), m.seq}) {
		return 0
	}
	m.floor = yours.Incarnation + 1
	return m.floor
}

// heard notes that a peer speaks to us directly. When memberlist holds it for dead
// there is no need to wait for the next try to join it, unless it is going.
func (m *Mesh) heard(from *peer, now time.Time, leaving bool) {
	m.mu.Lock()
	from.heard = now
	alive := from.alive
	m.mu.Unlock()
	if alive || leaving {
		return
	}
	select {
	case from.kick <- struct{}{}:
	default:
	}
}

// receiveRequest delivers a request that is for us, and passes on one that came from
// its origin to be relayed. One hop only: what a relay sent is for its receiver.
func (m *Mesh) receiveRequest(from *peer, r arbiter.Request, run uint64) {
	if m.peer(r.From) == nil {
		m.stranger(r.From)
		return
	}
	if r.To != m.cfg.Name {
		if to := m.peer(r.To); to != nil && r.From == from.Name {
			m.send(to, encode(message{kind: kindRequest, From: m.cfg.Name, Run: run, Request: &r}))
		}
		return
	}
	via := viaOf(from, r.From)
	m.mu.Lock()
	first, answer := m.requests.arrive(r, run, via)
	m.mu.Unlock()
	switch {
	case first:
		m.deliver(Asked{Request: r, Path: arbiter.Path{Via: via}})
	case answer != nil:
		m.sendAnswer(*answer, run, []string{from.Name})
	}
}

// receiveAnswer is to an answer what receiveRequest is to a request. An answer to
// another run of this member is none of ours: its ID may be one of ours by chance.
func (m *Mesh) receiveAnswer(from *peer, a arbiter.Answer, run uint64) {
	if m.peer(a.From) == nil {
		m.stranger(a.From)
		return
	}
	if a.To != m.cfg.Name {
		if to := m.peer(a.To); to != nil && a.From == from.Name {
			m.send(to, encode(message{kind: kindAnswer, From: m.cfg.Name, Run: run, Answer: &a}))
		}
		return
	}
	if run == m.run {
		m.deliver(Answered{Answer: a, Path: arbiter.Path{Via: viaOf(from, a.From)}})
	}
}

// viaOf returns the relay, "" when the sender is the origin.
func viaOf(from *peer, origin string) string {
	if from.Name == origin {
		return ""
	}
	return from.Name
}
