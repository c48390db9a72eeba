// Package etcd carries the transactions of package witness to an etcd, of version 3.4 or
// later, and brings back what it answers.
//
// One Swap is one etcd transaction: a comparison of revisions, the writes, and a reading of
// all records of the cluster, so that each answer is a complete picture at one instant. It uses no etcd
// lease and no lock recipe: those stop a holder too late.
//
// An error says which of two things it is: nothing happened and nothing will (ErrRefused),
// or nobody knows, and the write may even take effect later. It never guesses.
//
// It refuses to decide: what a record means, whether to try again, and how long an
// answer counts is package witness's. It logs only records that it cannot read.
// Start reading at Client.Do; Watch is for hearing of changes between two of one's own.
//
//	c, err := etcd.New(etcd.Config{Endpoints: urls, Cluster: "edge", Timeout: 700 * time.Millisecond, Logger: log})
//	out, err := c.Do(ctx, witness.Swap{}) // read everything
package etcd
