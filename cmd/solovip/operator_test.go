package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/node"
)

// obey runs a control socket whose node does what it is told, and returns its run
// directory and how often it was told something.
func obey(t *testing.T) (dir string, told *atomic.Int32) {
	t.Helper()
	dir, told = t.TempDir(), &atomic.Int32{}
	snap := lease(node.Safe)
	give := func() {
		next := *snap.Load()
		next.Claims = append([]node.ClaimSnapshot{}, next.Claims...)
		next.Claims[0].Phase, next.Claims[0].Holder = "idle", "lb02"
		snap.Store(&next)
	}
	s := control.Server{
		Snapshot: func() node.Snapshot { return *snap.Load() },
		Handover: func(_ context.Context, claim, to string) (string, error) {
			told.Add(1)
			if claim != "VI_1" {
				return "", errors.New("there is no claim " + claim)
			}
			give()
			return "handing VI_1 over to " + to, nil
		},
		Standby: func(_ context.Context, on bool) (string, error) {
			told.Add(1)
			if on {
				give()
				return "standby", nil
			}
			return "standby is over", nil
		},
	}
	serveAs(t, dir, s)
	return dir, told
}

func TestOperatorsCommands(t *testing.T) {
	for _, c := range []struct {
		name, args string
		code       int
		out, err   string
		told       int32
	}{
		{"handover", "handover VI_1 --to lb02 --yes", 0, "handing VI_1 over to lb02\nVI_1 is held by lb02, after ", "", 1},
		{"refused", "handover VI_9 -y", 1, "", "solovip: there is no claim VI_9\n", 1},
		{"nobody to ask", "handover VI_1 --to lb02", 2, "", "solovip: VI_1 and its guarded services move from this node to lb02. Nothing was done", 0},
		{"no claim named", "handover -y", 2, "", "name one CLAIM", 0},
		{"standby on", "standby on --yes", 0, "standby\nthis node holds nothing, after ", "", 1},
		{"standby on, nobody to ask", "standby on", 2, "", "This node gives away all it holds", 0},
		{"standby off needs no yes", "standby off", 0, "standby is over\n", "", 1},
		{"standby what", "standby maybe -y", 2, "", "say 'solovip standby on'", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, told := obey(t)
			code, out, errOut := solovip(t, append(strings.Fields(c.args), "--run-dir", dir)...)
			if code != c.code || !strings.HasPrefix(out, c.out) || !strings.Contains(errOut, c.err) || (c.err == "") != (errOut == "") {
				t.Errorf("exit code %d, want %d; stdout, want %q:\n%s\nstderr, want %q:\n%s", code, c.code, c.out, out, c.err, errOut)
			}
			if told.Load() != c.told {
				t.Errorf("the node was told %d times, want %d", told.Load(), c.told)
			}
		})
	}
}

// On a terminal the effect is named and only a yes goes on.
func TestOperatorIsAsked(t *testing.T) {
	for _, c := range []struct {
		answer string
		told   int32
		then   string
	}{
		{"y\n", 1, "VI_1 is held by lb02"},
		{"\n", 0, "nothing was done"},
		{"no\n", 0, "nothing was done"},
	} {
		dir, told := obey(t)
		terminal, name := openTerminal(t, 200)
		tty, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := child(t, "solovip", "handover", "VI_1", "--run-dir", dir)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = tty.Close() // the child has its own
		seen := &reader{t: t, r: terminal}
		seen.until("VI_1 and its guarded services move from this node to another node. Go on? [y/N] ")
		if _, err := terminal.WriteString(c.answer); err != nil {
			t.Fatal(err)
		}
		seen.until(c.then)
		if err := cmd.Wait(); (err == nil) != (c.told == 1) {
			t.Errorf("answer %q: ended with %v", c.answer, err)
		}
		if told.Load() != c.told {
			t.Errorf("answer %q: the node was told %d times, want %d", c.answer, told.Load(), c.told)
		}
	}
}
