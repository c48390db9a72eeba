package probe

import (
	"context"
	"errors"
	"os"
	"os/user"
	"testing"
	"testing/synctest"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lvs"
)

// misc returns a check that runs a text by a shell.
func misc(text string, dynamic bool) config.Checker {
	return config.Checker{Check: config.MiscCheck{
		Command: config.Command{Args: []string{"/bin/sh", "-c", text}}, Timeout: time.Minute, Dynamic: dynamic,
	}}
}

func TestMisc(t *testing.T) {
	weight := func(n int) Outcome { return Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Set, Value: n}} }
	for _, row := range []struct {
		name    string
		text    string
		dynamic bool
		want    Outcome
	}{
		{"status 0", "exit 0", false, Outcome{OK: true}},
		{"status 1", "exit 1", false, Outcome{Why: "/bin/sh: exit status 1"}},
		{"status 2", "exit 2", false, Outcome{Why: "/bin/sh: exit status 2"}},
		{"dynamic 0 is the configured weight", "exit 0", true, Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Add}}},
		{"dynamic 1", "exit 1", true, Outcome{Why: "/bin/sh: exit status 1"}},
		{"dynamic 2 drains", "exit 2", true, weight(0)},
		{"dynamic 255", "exit 255", true, weight(253)},
		{"dynamic, killed", "kill -9 $$", true, Outcome{Why: "/bin/sh: signal: killed"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := soon(t, misc(row.text, row.dynamic), time.Minute); got != row.want {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
	c := misc("", false)
	check := c.Check.(config.MiscCheck)
	check.Command.Args = []string{"/no/such/program"}
	c.Check = check
	if got := attempt(t, c); got.OK || got.Why == "" {
		t.Errorf("a program that is not there: %+v", got)
	}
}

// TestMiscRunsAs: the check's own user.
func TestMiscRunsAs(t *testing.T) {
	if os.Getuid() != 0 {
		missing(t, "not root")
	}
	for _, name := range []string{"nobody", "daemon"} {
		u, err := user.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		c := misc("test $(id -u) = "+u.Uid, false)
		check := c.Check.(config.MiscCheck)
		check.User = name
		c.Check = check
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Probe(t.Context()); !got.OK {
			t.Errorf("%s: %s", name, got.Why)
		}
	}
}

// TestMiscTimeout: misc_timeout is its own.
func TestMiscTimeout(t *testing.T) {
	c := misc("sleep 600", true)
	check := c.Check.(config.MiscCheck)
	check.Timeout = 50 * time.Millisecond
	c.Check = check
	if got := soon(t, c, time.Minute); got.OK || got.Why != "/bin/sh: killed after 50ms" {
		t.Errorf("%+v", got)
	}
}

// TestMiscCannotBeKilled: a program that hangs in the kernel is not waited for, and not started
// anew until it has ended.
func TestMiscCannotBeKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newMisc(config.MiscCheck{Command: config.Command{Args: []string{"check"}}, Timeout: time.Millisecond})
		end, started := make(chan struct{}), 0
		hang := func(context.Context) error { started++; <-end; return errors.New("killed") }
		const why = "check: hangs in the kernel and cannot be killed"
		for range 3 {
			if got := p.attempt(t.Context(), hang); got.OK || got.Why != why {
				t.Errorf("%+v, want %q", got, why)
			}
		}
		close(end)
		synctest.Wait()
		if started != 1 {
			t.Errorf("started %d times", started)
		}
		if got := p.attempt(t.Context(), func(context.Context) error { return nil }); !got.OK {
			t.Errorf("it has ended, and still %+v", got)
		}
	})
}
