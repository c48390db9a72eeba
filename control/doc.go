// Package control lets an operator ask a running daemon how it stands: HTTP and JSON
// over a unix socket in the daemon's run directory, and the client of it.
//
//	GET /v1/snapshot          node.Snapshot as one JSON object
//	GET /v1/snapshot?watch=1  one object a line: at once, on each change, and each second
//	GET /v1/healthz           {"status":"ok"} while the daemon's loop answers, else 503
//	POST /v1/handover         {"claim":"VI_1","to":"lb02"}: give the claim to that node
//	POST /v1/standby          {"on":true}: give away what is held and take nothing
//	POST /v1/trust-witness    {}: take the witness as it is now
//	POST /v1/fence            {"claim":"VI_1"}: let go of it by force and stay out of it
//	POST /v1/fence/clear      {"claim":""}: take part again, in one claim or in all
//
// The worker for virtual servers has a socket of its own, in the directory lvs below:
//
//	GET /v1/lvs               lvs.Snapshot as one JSON object
//	POST /v1/lvs/operate      {"real":"10.0.0.1:80","server":"","do":"drain"}: a word about a real server
//
// A command is answered with {"text":"..."}, what happens now, or refused with 409. An
// error is {"error":"..."} with a status of 400 and above. Everything is bounded: how
// long a request, an answer and a single write may take, how many connections and
// watchers there are. So a client that hangs costs the daemon a connection for some
// seconds and never holds up the loop.
//
// The package refuses to decide: whether a command is carried out is the node's
// business, and there is none that takes a claim. It refuses to be reached by a network,
// and to share a run directory with another daemon that lives. It adds nothing to the
// snapshot; package control/text renders it for people.
//
// Start at Listen for the daemon, at Dial for a client.
//
//	l, err := control.Listen("/run/solovip")
//	...
//	s := control.Server{Snapshot: d.snapshot, Handover: d.handover, Standby: d.standby}
//	err = s.Serve(ctx, l)
package control
