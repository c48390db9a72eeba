package mesh

import "github.com/solovip/solovip/arbiter"

// Event is what the mesh brings: one of ReportSeen, Asked, Answered, MemberChanged.
//
//sumtype:decl
type Event interface{ event() }

// ReportSeen says that a newer report of a member has arrived by a path. Each report
// comes at most once by each path; a relayed one that is older than the newest direct
// one does not come at all. It is as old as its transit and, when relayed, at most
// relayIntervals more. The claims are shared with the mesh and must not be changed.
type ReportSeen struct {
	Report arbiter.Report
	Path   arbiter.Path
}

// Asked says that a member asks something of this one. It comes once for each
// request, by whichever path was first; Mesh.Answer brings the answer back.
type Asked struct {
	Request arbiter.Request
	Path    arbiter.Path
}

// Answered is an answer to a request of this run of this member. The same answer may
// come once directly and once through each relay.
type Answered struct {
	Answer arbiter.Answer
	Path   arbiter.Path
}

// MemberChanged says that memberlist's view of a peer has changed. Before the first
// one a peer is not alive.
type MemberChanged struct {
	Name  string
	Alive bool
}

func (ReportSeen) event()    {}
func (Asked) event()         {}
func (Answered) event()      {}
func (MemberChanged) event() {}
