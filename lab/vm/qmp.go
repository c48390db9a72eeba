package vm

import (
	"bufio"
	"encoding/json"
	"io"
)

// event is what we read of an event in qemu's machine protocol (QMP).
type event struct {
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

// follow reads the emulator's words to the end, and returns how the machine ended.
func follow(words io.ReadCloser, commands io.Writer) (end End) {
	defer words.Close()
	// It tells of events only after this. The machine has hardly been switched on by then.
	_, _ = io.WriteString(commands, `{"execute":"qmp_capabilities"}`+"\n") // a dead one ends the words too
	barked := false
	lines := bufio.NewScanner(words)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // not of interest
		}
		switch e.Event {
		case "WATCHDOG":
			barked = true
		case "SHUTDOWN":
			end = endOf(e.Data.Reason, barked)
		}
	}
	return end
}

// endOf returns the end for qemu's reason to shut down.
func endOf(reason string, barked bool) End {
	switch {
	case reason == "guest-shutdown":
		return PoweredOff
	case reason == "guest-reset" && barked:
		return WatchdogReset
	case reason == "guest-reset", reason == "guest-panic":
		return Reset
	}
	return Vanished
}
