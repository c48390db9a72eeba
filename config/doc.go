// Package config turns a configuration file into typed settings: keepalived.conf as it is,
// and the blocks that solovip adds (cluster, witness, guard, fencing).
//
// Every keyword of keepalived is known by name (keywords.md is the table of them). What
// keepalived tolerates is tolerated with the same effect, and a warning says so. What
// would run with a virtual address or a block lost is an error, and so is every mistake in
// a block of ours: the daemon does not start with it and keeps what it has at a reload.
//
// The package opens nothing but the files it reads and never touches the network; whether
// an interface or an address exists is for the daemon to see. Programs and users that
// scripts name are looked up by the hooks in [Options].
//
// Start reading at [Load] in load.go. grammar.go holds names, blocks and missing values
// against the table; the readers (global.go, script.go, instance.go, blocks.go ...) make
// settings of what it lets through; cross.go looks at what only the whole shows.
//
//	cfg, report := config.Load("/etc/solovip/solovip.conf", config.Options{})
//	if report.HasErrors() {
//		report.Render(os.Stderr)
//	}
package config
