// Package checks decides when attempts of checks are made and what their outcomes mean:
// results of attempts into states of checks. It is pure: events and the time go in, ordered
// actions come out.
//
//   - The first attempt is at an instant that who adds the check draws (warmup), and later
//     ones stay in step with it, so that thousands of checks do not fall together.
//   - Of a check that is up, a failure is believed when it came as often in a row as is
//     asked for (retry), each attempt some time after the one before (delay_before_retry). One that
//     is not up, be it down or without a result yet, needs no such proof.
//   - A check of several pages tries them in turn, one at each interval. It is up when each
//     of them was well since the last failure; with fast_recovery it does not wait for
//     the interval between them while it is down.
//
// It knows nothing of servers, weights and quorum: that is package lvs. Nor does it know what
// an attempt is (checks/probe), or how many may run at once (checks/runner).
//
// Start reading at [Scheduler.Step]:
//
//	s := checks.New()
//	for _, a := range s.Step(now, checks.Add{ID: id, Timing: timing, First: first}) { ... }
//	// at s.Deadline():
//	for _, a := range s.Step(now, checks.Tick{}) {
//		switch a := a.(type) {
//		case checks.Attempt: // try, then s.Step(now, checks.Done{Attempt: a, OK: ok, ...})
//		case checks.Report:  // tell the balancer
//		}
//	}
package checks
