// Package mesh tells each member of a cluster what every other member says of
// itself, and carries questions between them: memberlist behind our own types.
//
// Three things go over the mesh. A Report is what a member says of itself; it goes
// out each Config.Interval to every configured peer, together with the reports the
// sender has itself heard of late, so that each member learns of each other one
// directly and through every third. A Request is a question to one member; it goes
// directly and through every third, and so does the Answer. And memberlist probes the
// members and has a view of who is alive.
//
//	lb01 ----X---- lb02      the link lb01-lb02 is cut: lb02 hears lb01's report
//	    \         /          from w1 (Path{Via: "w1"}), asks lb01 through w1, and
//	     \-- w1 -/           knows that lb01 lives and what it holds
//
// What arrives is evidence, never permission: the mesh may veto a claim and may
// explain one, and silence says nothing. The package refuses to judge (no message
// is turned into a decision here), to talk to anyone who is not in Config.Peers, to
// run unencrypted unless told so, and to hand over old news as fresh: what lay in a
// socket while the process was frozen is thrown away, and only reports heard within
// the last few intervals are passed on.
//
// A mesh-only witness runs this very package; its reports say so (Report.Witness).
//
// Start at Mesh: New, Run, and the Events it delivers.
//
//	m, err := mesh.New(mesh.Config{Name: "lb01", Cluster: "edge", Bind: bind, Peers: peers, Key: key,
//		Deliver: func(e mesh.Event) { events <- e }})
//	...
//	err = m.Publish(arbiter.Report{Incarnation: 7, Mode: arbiter.ModeVeto})
//	err = m.Run(ctx)
package mesh
