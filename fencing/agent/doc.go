// Package agent runs fence agents: programs that switch a node off, as ClusterLabs' fence
// agents do. An agent reads key=value lines from its standard input, action=off among
// them, and ends with an exit status.
//
//	action=off, reboot, on   exit status 0: done
//	action=status            0: the node is on; 2: it is off; else nobody knows
//	action=monitor           0: the device can be asked
//	action=metadata          an XML description of the agent on standard output
//
// The word of an agent that it has switched a node off is not believed: only a status of off
// after it is. Each call is a process group of its own with a deadline, and is killed as a whole.
// What an agent prints is bounded and taken for text alone.
//
// The package refuses to decide whether a node is to be switched off: package node does.
// It runs as whoever runs the daemon, and hands parameters, passwords among them, over standard
// input only, never as arguments, which every user could read.
//
// Start reading at Agent.Off.
package agent
