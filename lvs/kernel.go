package lvs

import (
	"fmt"
	"strings"
	"time"
)

// kernel is what the balancer believes of the kernel: what it read last, and the steps
// since.
type kernel struct {
	known    bool                // state is to be believed
	answered bool                // it was read once, or could not be
	state    State               // of its table what is ours
	ours     map[ServiceKey]bool // every service that was ever wanted and may be there
	daemons  [2]bool             // by Role: one that we started
	restore  Timeouts            // what those were before that we have set
	foreign  []ServiceKey        // services of others
	flushed  bool                // Config.Flush is done

	asked             uint64 // ID of the last ReadKernel
	waiting           bool   // its answer is not there
	stale             bool   // steps were emitted since, so the answer may be older than they
	readAt            time.Time
	all               bool   // the whole table has to be compared
	readErr, applyErr string // why it could not be read or changed; empty: it could
	repairs           int    // how often others had changed what is ours
}

// read asks for the kernel's table.
func (b *Balancer) read(now time.Time) {
	k := &b.kernel
	k.asked++
	k.waiting, k.stale = true, false
	k.readAt = now.Add(AuditEvery)
	b.emit(ReadKernel{k.asked})
}

// kernelRead takes the kernel's table in. What is not as it was left is put right by the
// comparison that follows.
func (b *Balancer) kernelRead(now time.Time, ev Kernel) {
	k := &b.kernel
	if ev.ID != k.asked || !k.waiting {
		return
	}
	k.waiting, k.readErr = false, ""
	if k.stale {
		k.readAt = now.Add(RetryAfter)
		return
	}
	if b.cfg.Flush && !k.flushed {
		for key := range ev.State.Table {
			k.ours[key] = true
		}
	}
	k.flushed = true
	read := State{Table: make(Table), Timeouts: ev.State.Timeouts, Daemons: ev.State.Daemons}
	k.foreign = nil
	for _, key := range ev.State.Table.Keys() {
		if k.ours[key] {
			read.Table[key] = ev.State.Table[key]
		} else {
			k.foreign = append(k.foreign, key)
		}
	}
	if k.known {
		b.drift(read)
	} else if b.cfg.Sync != nil {
		// One that a former run has started, or that is in the way of ours.
		k.daemons = [2]bool{read.Daemons[Master] != nil, read.Daemons[Backup] != nil}
	}
	for key := range k.ours {
		_, wanted := b.wanted.Table[key]
		if _, there := read.Table[key]; !there && !wanted {
			delete(k.ours, key)
		}
	}
	k.known, k.answered, k.state, k.all = true, true, read, true
}

// drift tells what others have changed of ours.
func (b *Balancer) drift(read State) {
	k := &b.kernel
	steps := Diff(read.Table, k.state.Table)
	for _, role := range []Role{Master, Backup} {
		if k.daemons[role] && !read.Daemons[role].same(k.state.Daemons[role]) {
			steps = append(steps, SetDaemon{role, k.state.Daemons[role]})
		}
	}
	if len(steps) == 0 {
		return
	}
	k.repairs++
	b.tell(true, "", "somebody else changed the table of IPVS: it is put right", inWords(steps))
}

// applied takes in how steps went.
func (b *Balancer) applied(now time.Time, err string) {
	if err == "" {
		b.kernel.applyErr = ""
		return
	}
	b.kernelFailed(now, &b.kernel.applyErr, "the table of IPVS could not be changed", err)
}

// kernelFailed says that the kernel's table is not known, and has it read again soon. What
// is the same as before is not told again.
func (b *Balancer) kernelFailed(now time.Time, before *string, what, err string) {
	k := &b.kernel
	k.known, k.answered, k.waiting = false, true, false
	k.readAt = now.Add(RetryAfter)
	if *before != err {
		*before = err
		b.tell(true, "", what, err)
	}
}

// bring emits the steps and believes that they are carried out, but for the table.
func (b *Balancer) bring(steps []Step) {
	k := &b.kernel
	if len(steps) == 0 {
		k.applyErr = "" // the kernel has all that is wanted
		return
	}
	for _, s := range steps {
		switch s := s.(type) {
		case SetDaemon:
			k.state.Daemons[s.Role], k.daemons[s.Role] = s.Daemon, s.Daemon != nil
		case SetTimeouts:
			k.restore = k.restore.or(k.state.Timeouts.where(s.Timeouts))
			k.state.Timeouts = s.Timeouts.or(k.state.Timeouts)
		case AddService, EditService, DeleteService, AddDestination, EditDestination, DeleteDestination, Flush:
		}
	}
	k.stale = true
	b.emit(Apply{steps})
}

// lastSteps returns the steps that undo what was done, as the configuration wants it.
func (b *Balancer) lastSteps() []Step {
	var steps []Step
	for role, ours := range b.kernel.daemons {
		if ours {
			steps = append(steps, SetDaemon{Role: Role(role)})
		}
	}
	if b.kernel.restore != (Timeouts{}) {
		steps = append(steps, SetTimeouts{b.kernel.restore})
	}
	if b.cfg.OnStop == FlushAll {
		return append(steps, Flush{})
	}
	table := b.kernel.state.Table
	for _, key := range table.Keys() {
		if b.cfg.OnStop == DeleteEach {
			for _, d := range table[key].Destinations {
				steps = append(steps, DeleteDestination{key, d.Addr})
			}
		}
		steps = append(steps, DeleteService{key})
	}
	return steps
}

// inWords returns the first steps for people.
func inWords(steps []Step) string {
	const most = 3
	var words []string
	for _, s := range steps[:min(len(steps), most)] {
		words = append(words, s.String())
	}
	out := strings.Join(words, "; ")
	if more := len(steps) - most; more > 0 {
		out += fmt.Sprintf("; and %d more", more)
	}
	return out
}
