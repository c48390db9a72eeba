// Package server is the etcd of the witness: one member, embedded, for the third host of a
// cluster that has no etcd of its own.
//
// It keeps a few records of some hundred bytes, so everything that makes etcd heavy is turned
// off or down: no peer listener, no gateway, a small log, automatic compaction. What
// makes it safe is left on: every write is on disk before it is answered.
//
// A data directory belongs to one cluster and one process; Run refuses any other, because an etcd
// that starts on the wrong data tells its nodes wrong things. A new data directory has a
// new etcd cluster id, so that the nodes see that the witness has forgotten.
//
// It refuses to be a member of a larger etcd: who needs that has an etcd already, and names
// it in `endpoints`. It knows nothing of claims or nodes. Start reading at Server.Run.
//
//	urls, err := server.Listeners(cfg.Witness.Endpoints, hostAddrs)
//	s, err := server.New(server.Config{Name: "w1", Cluster: "edge", DataDir: dir, ListenClient: urls, Logger: log})
//	err = s.Run(ctx, notifyReady)
package server
