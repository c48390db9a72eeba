package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/script"
	"github.com/solovip/solovip/node"
)

// notifyLimit bounds a notify script: then its process group is killed, so that the
// next state can be told.
const notifyLimit = 30 * time.Second

// notify runs the scripts for a state of an instance or a sync group: first the one of
// the state, then the general one with keepalived's arguments. Scripts of one
// name run in the order of their states, each awaited.
func (d *daemon) notify(a node.Notify) {
	set, kind := d.instance(a.Name).notify, "INSTANCE"
	if a.Group {
		set, kind = d.claim(a.Name).notify, "GROUP"
	}
	var scripts []script.Script
	for _, c := range []struct {
		command config.Command
		extra   []string
	}{
		{notifyCommand(set, a.State), nil},
		{set.Any, []string{kind, a.Name, a.State, strconv.Itoa(int(a.Priority))}},
	} {
		if len(c.command.Args) > 0 {
			user := cmp.Or(c.command.User, d.settings.config.Global.ScriptUser)
			scripts = append(scripts, script.Script{Args: slices.Concat(c.command.Args, c.extra), User: user})
		}
	}
	env := []string{"SOLOVIP_NAME=" + a.Name, "SOLOVIP_STATE=" + a.State, fmt.Sprintf("SOLOVIP_TOKEN=%d", a.Token)}
	for _, s := range scripts {
		s.Env = env
		run := func(ctx context.Context) {
			if err := s.Run(ctx, notifyLimit); err != nil {
				d.log.Warn("notify script", "name", a.Name, "state", a.State, "err", err)
			}
		}
		if !d.lanes.Run("notify "+kind+" "+a.Name, run) {
			d.log.Error("notify script left out: too many wait", "name", a.Name, "state", a.State)
		}
	}
}

func notifyCommand(n config.Notify, state string) config.Command {
	switch state {
	case "MASTER":
		return n.Master
	case "BACKUP":
		return n.Backup
	case "FAULT":
		return n.Fault
	case "STOP":
		return n.Stop
	}
	return config.Command{}
}
