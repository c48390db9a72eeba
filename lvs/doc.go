// Package lvs decides what IPVS balances. Its two halves are both values in, values out:
//
//   - [Diff] compares a kernel's [Table] with a wanted one and returns the steps between
//     them, in an order in which nothing that is in both is gone on the way.
//   - [Balancer] turns what happens (results of checks, addresses that come and go, an
//     operator's word, the kernel's own table) into the wanted table and into ordered
//     [Action]s: steps for the kernel, notifications, checks to start and stop.
//
// It makes no checks, and a check that fails once is down to it: retries are the
// business of package checks. It opens nothing, starts nothing and reads no clock; lvs/ipvs talks to the
// kernel. Services of the kernel that the configuration never named belong to others, and
// are shown but not touched.
//
// Start reading at Balancer.Step, then wanted.go:
//
//	b, err := lvs.New(cfg)
//	...
//	for _, a := range b.Step(now, lvs.Start{}) {
//		switch a := a.(type) {
//		case lvs.ReadKernel: // list the table, then b.Step(now, lvs.Kernel{ID: a.ID, State: state})
//		case lvs.StartCheck: // check, then b.Step(now, lvs.Checked{...}) for each result
//		case lvs.Apply:      // carry the steps out, then b.Step(now, lvs.Applied{})
//		...
//		}
//	}
package lvs
