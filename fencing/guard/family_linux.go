package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// markName is the environment variable that tells the processes of one start from those
// of another that got the same process id.
const markName = "SOLOVIP_GUARD_MARK"

// process is a line of /proc/PID/stat.
type process struct {
	pid, group, session int
	ticks               uint64 // start, in clock ticks since the boot
	dead                bool   // a zombie: its parent has not noticed yet
}

// family is the session that a start command leads. All its members descend from the
// leader, and its number is not given away while it has one.
//
// So what is found under that number later belongs to it, unless it was empty in
// between. It was not when the leader is there, or a member that was seen before, or
// one that bears the mark. Otherwise its members are neither killed nor overlooked:
// they are doubtful, and make the state unknown.
type family struct {
	leader int
	ticks  uint64 // start of the leader
	mark   string
	known  map[int]uint64 // members seen, by process id: their start
	group  cgroup         // its members are members too
}

// look returns the living members, and those that may be members.
func (f *family) look() (members, doubtful []process, err error) {
	if f.leader <= 1 {
		return nil, nil, nil // we have started nothing; to a signal these numbers are not a process's
	}
	grouped, err := f.grouped()
	if err != nil {
		return nil, nil, err
	}
	all, err := processes()
	if err != nil {
		return nil, nil, err
	}
	var alive []process
	certain := false
	for _, p := range all {
		if p.pid == f.leader && p.ticks != f.ticks {
			return grouped, nil, nil // the number is another's now, so the session has ended
		}
		if p.session != f.leader && p.pid != f.leader {
			continue
		}
		if !p.dead {
			alive = append(alive, p)
		}
		// A zombie holds the number, too.
		certain = certain || p.pid == f.leader || f.known[p.pid] == p.ticks || hasMark(p.pid, f.mark)
	}
	if !certain && len(alive) > 0 {
		return grouped, alive, nil
	}
	for _, p := range alive {
		f.known[p.pid] = p.ticks
	}
	for _, p := range grouped {
		if !slices.ContainsFunc(alive, func(o process) bool { return o.pid == p.pid }) {
			alive = append(alive, p)
		}
	}
	return alive, nil, nil
}

// grouped returns the living processes of the control group.
func (f *family) grouped() ([]process, error) {
	pids, err := f.group.pids()
	if err != nil {
		return nil, fmt.Errorf("look into the control group: %w", err)
	}
	var alive []process
	for _, pid := range pids {
		p, err := stat(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		if !p.dead {
			alive = append(alive, p)
		}
	}
	return alive, nil
}

// kill sends SIGKILL until no member lives, for killLimit at the most.
func (f *family) kill() error {
	end := time.Now().Add(killLimit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		members, _, err := f.look()
		if err != nil || len(members) == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("process %d is still there %v after SIGKILL", members[0].pid, killLimit)
		}
		f.group.kill()
		f.signal(members, unix.SIGKILL)
		wait(context.Background(), pause)
	}
}

// signal sends to the leader's process group as a whole, so that nobody in it can fork
// away, and to the members outside it one by one.
func (f *family) signal(members []process, sig unix.Signal) {
	whole := false
	for _, p := range members {
		if p.group == f.leader && !whole {
			whole = true
			_ = unix.Kill(-f.leader, sig) // whether it helped is looked at, not believed
		} else if p.group != f.leader {
			signalOne(p, sig)
		}
	}
}

// signalOne sends to this process and to no other that has its number by now.
func signalOne(p process, sig unix.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if now, err := stat(p.pid); err == nil && now.ticks == p.ticks {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// processes returns all processes that /proc shows.
func processes() ([]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := stat(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func stat(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(string(b))
}

// parseStat reads what proc_pid_stat(5) describes: the second field is the program's
// name in parentheses, and may itself contain any character.
func parseStat(s string) (process, error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return process{}, fmt.Errorf("process status %.80q: no name", s)
	}
	f := strings.Fields(s[end+1:])
	const state, group, session, start = 0, 2, 3, 19 // fields 3, 5, 6 and 22
	if len(f) <= start {
		return process{}, fmt.Errorf("process status %.80q: too short", s)
	}
	pid, err0 := strconv.Atoi(strings.TrimSpace(s[:open]))
	g, err1 := strconv.Atoi(f[group])
	ses, err2 := strconv.Atoi(f[session])
	ticks, err3 := strconv.ParseUint(f[start], 10, 64)
	if err := errors.Join(err0, err1, err2, err3); err != nil {
		return process{}, fmt.Errorf("process status: %w", err)
	}
	dead := f[state] == "Z" || f[state] == "X"
	return process{pid: pid, group: g, session: ses, ticks: ticks, dead: dead}, nil
}

// hasMark reports whether the process was started with the mark in its environment.
func hasMark(pid int, mark string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil || mark == "" {
		return false
	}
	want := []byte(markName + "=" + mark)
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

// wait pauses, and reports whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
