// Package runner makes checks: it turns the decisions of package checks into attempts of
// package checks/probe, and their outcomes into results for package lvs. One goroutine
// owns the scheduler; each attempt under way has one of its own.
//
// Attempts on the network and scripts have lanes of their own, each with a bound on how many
// run at once: what is above the bound waits in order. Neither lane, nor a check that
// hangs, holds the other up. Each attempt ends at its checker's timeout, whatever it does.
//
// It decides nothing about servers, and keeps no history: results are told as they come,
// as many at a time as there are when somebody takes them, the latest of each check.
//
// Start reading at [Runner.Run]:
//
//	r, err := runner.New(runner.Config{Log: log})
//	go r.Run(ctx)
//	r.Add(id, checker)                         // lvs.StartCheck
//	results := <-r.Results()                   // b.Step(now, lvs.Checked{Results: results})
//	r.Remove(id)                               // lvs.StopCheck
package runner
