// Package scenario declares what the lab plays: hosts, timed steps, waits on events
// with deadlines, and what each system under test is expected to show.
//
// A Scenario is data. It refuses to act: package netns plays it on real daemons.
// Every Step has a text form, which the timeline prints. A scenario never waits by
// sleeping, except for the deliberate length of a fault (Hold), which is part of it.
//
// Start at Scenario and Shipped. An example:
//
//	Scenario{
//		Name:  "power-off",
//		Text:  "n1 loses power; n2 takes over",
//		Hosts: TwoNodes(),
//		Steps: []Step{
//			{Do: Start},
//			{Do: Await, Event: Serves, Host: "n1", For: time.Second, Within: 30 * time.Second},
//			{Do: MarkReady},
//			{Do: PowerOff, Host: "n1"},
//			{Do: Await, Event: Alone, Host: "n2", Within: 10 * time.Second},
//		},
//		Expect: map[System]verify.Expect{Lease: {Holder: "n2"}},
//	}
package scenario
