package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// script is a fence agent that obeys the protocol: its device is a file that says on or
// off. Parameters make it lie, fail or hang.
const script = `#!/bin/sh
action=reboot
while IFS='=' read -r key value; do
	case $key in
	action) action=$value ;;
	device) device=$value ;;
	mood) mood=$value ;;
	nodename) nodename=$value ;;
	esac
done
echo "$action $nodename" >>"$device.log"
case $action-$mood in
off-lies) exit 0 ;;
off-fails) echo "the device does not answer" >&2; exit 1 ;;
off-once) if [ -e "$device.tried" ]; then echo off >"$device"; exit 0; fi; : >"$device.tried"; exit 1 ;;
off-slow) setsid sh -c "touch $device.up; sleep 1; echo off >$device" >/dev/null 2>&1 &
	while [ ! -e "$device.up" ]; do sleep 0.01; done ;;
off-hangs) sleep 1000 & echo $! >"$device.child"; echo $$ >"$device.pid"; wait ;;
off-*) echo off >"$device" ;;
on-*) echo on >"$device" ;;
status-confused) echo "Status: ON"; exit 2 ;;
status-*) if [ "$(cat "$device")" = off ]; then echo "Status: OFF"; exit 2; fi; echo "Status: ON" ;;
monitor-dead) echo "no route to the device" >&2; exit 1 ;;
monitor-*) ;;
metadata-strange) echo '<resource-agent name="x"><actions><action name="on"/></actions></resource-agent>' ;;
metadata-*) cat <<'XML'
<?xml version="1.0" ?>
<resource-agent name="fence_file" shortdesc="a file">
<parameters><parameter name="device" required="1"/></parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="status"/><action name="monitor"/></actions>
</resource-agent>
XML
;;
*) exit 1 ;;
esac
`

// device makes the agent and its device, which is on.
func device(t *testing.T, mood string) (*Agent, string) {
	t.Helper()
	dir := t.TempDir()
	program, file := filepath.Join(dir, "fence_file"), filepath.Join(dir, "device")
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(Config{
		Program: program, Target: "lb02", Retries: 1, Timeout: 10 * time.Second,
		Parameters: []Parameter{{"device", file}, {"mood", mood}},
	}), file
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestOff(t *testing.T) {
	for _, tt := range []struct {
		mood   string
		verify time.Duration
		ok     bool
		calls  string
	}{
		{"well", 0, true, "off lb02,status lb02"},
		{"once", 0, true, "off lb02,status lb02,off lb02,status lb02"},
		{"slow", 20 * time.Second, true, ""},
		{"lies", 0, false, "off lb02,status lb02,off lb02,status lb02"},
		{"fails", 0, false, "off lb02,status lb02,off lb02,status lb02"},
	} {
		t.Run(tt.mood, func(t *testing.T) {
			a, file := device(t, tt.mood)
			a.cfg.Verify = tt.verify
			err := a.Off(t.Context())
			if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, ErrNotOff) {
				t.Errorf("ended with %v", err)
			}
			if off := read(t, file) == "off"; off != tt.ok {
				t.Errorf("it is off: %t", off)
			}
			if calls := strings.ReplaceAll(read(t, file+".log"), "\n", ","); tt.calls != "" && calls != tt.calls {
				t.Errorf("called: %s, want %s", calls, tt.calls)
			}
		})
	}
}

func TestReboot(t *testing.T) {
	a, file := device(t, "well")
	a.cfg.Reboot = true
	if err := a.Off(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := strings.ReplaceAll(read(t, file+".log"), "\n", ","); calls != "off lb02,status lb02,on lb02" {
		t.Errorf("called: %s", calls)
	}
}

// An agent whose words and exit status differ is not believed.
func TestConfused(t *testing.T) {
	a, _ := device(t, "confused")
	if state, err := a.Status(t.Context()); state != Unknown || err == nil {
		t.Errorf("%v, %v", state, err)
	}
	if err := a.Off(t.Context()); !errors.Is(err, ErrNotOff) {
		t.Errorf("ended with %v", err)
	}
}

// An agent that hangs is killed with all that it has started.
func TestHangs(t *testing.T) {
	a, file := device(t, "hangs")
	a.cfg.Timeout, a.cfg.Retries = time.Second, 0
	if _, err := a.call(t.Context(), "off"); err == nil || !strings.Contains(err.Error(), "killed after 1s") {
		t.Errorf("ended with %v", err)
	}
	for _, name := range []string{".pid", ".child"} {
		pid, err := strconv.Atoi(read(t, file+name))
		if err != nil {
			t.Fatal(err)
		}
		gone(t, pid)
	}
}

// gone waits until a process has ended; a zombie that nobody has collected yet has.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d lives: %s", pid, stat)
		}
	}
}

func TestCheck(t *testing.T) {
	for mood, want := range map[string]string{"well": "", "strange": "does not know the actions off, status", "dead": "no route to the device"} {
		a, _ := device(t, mood)
		err := a.Check(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", mood, err, want)
		}
	}
	missing := New(Config{Program: "/nowhere/fence_x", Timeout: time.Second})
	if err := missing.Check(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestParseStatus(t *testing.T) {
	for _, tt := range []struct {
		exit int
		text string
		want State
	}{
		{0, "", On},
		{0, "Status: ON\n", On},
		{2, "Status: OFF", Off},
		{2, "", Off},
		{2, "connecting\nstatus:  off \n", Off},
		{1, "", Unknown},
		{1, "Status: OFF", Unknown},
		{0, "Status: OFF", Unknown},
		{2, "Status: ON", Unknown},
		{2, "Status: OFF\nStatus: ON\n", Unknown},
		{2, "Status: maybe", Unknown},
		{255, "", Unknown},
		{-1, "", Unknown},
	} {
		if got := ParseStatus(tt.exit, []byte(tt.text)); got != tt.want {
			t.Errorf("exit %d, %q: %v, want %v", tt.exit, tt.text, got, tt.want)
		}
	}
}

// FuzzOutput reads what an agent may print: it must not panic, and no words make a node
// off whose exit status does not say so.
func FuzzOutput(f *testing.F) {
	f.Add(2, []byte("Status: OFF\n"))
	f.Add(0, []byte("junk\n<resource-agent name=\"x\"><actions><action name=\"off\"/></actions></resource-agent>"))
	f.Add(2, []byte("\x00status:off\nSTATUS: on"))
	f.Fuzz(func(t *testing.T, exit int, text []byte) {
		if state := ParseStatus(exit, text); state == Off && exit != exitOff || state == On && exit != exitOn {
			t.Errorf("exit %d, %q: %v", exit, text, state)
		}
		if m, err := ParseMetadata(text); err != nil && !errors.Is(err, ErrMetadata) {
			t.Errorf("%+v, %v", m, err)
		}
	})
}
