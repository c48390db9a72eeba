package netns

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/solovip/solovip/lab/disk"
)

// Helpers returns the names of the commands by which a run calls its own binary, as
// "BINARY lab NAME ...". Every binary that calls Run has to give them to Helper.
func Helpers() []string { return []string{stageName, serviceName, agentName, diskName, serverName} }

const (
	stageName   = "stage"
	serviceName = "service"
	agentName   = "agent"
	diskName    = "disk"
	serverName  = "server"
)

// Helper carries out a helper command: its name and arguments are args.
func Helper(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == stageName:
		return Stage(in, out)
	case len(args) > 1 && args[0] == serviceName:
		return controlService(ctx, args[1:])
	case len(args) == 2 && args[0] == serverName:
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
		defer stop()
		return Service{Node: args[1]}.serve(ctx, os.Stdout) // says "ready" to its log
	case len(args) == 2 && args[0] == agentName:
		status, err := runAgent(strings.TrimPrefix(args[1], "--report="), in, out)
		if err == nil && status != 0 {
			os.Exit(status) // it is all that an agent's caller looks at
		}
		return err
	case len(args) > 2 && args[0] == diskName:
		return disk.Exec(strings.TrimPrefix(args[1], "--socket="), args[2:])
	}
	return errors.New("this command is for the lab's own use")
}

// controlService has flags only, each one word, so that no parser before it can take
// them apart or change their order.
func controlService(ctx context.Context, args []string) error {
	var s Service
	var verb string
	flags := flag.NewFlagSet(serviceName, flag.ContinueOnError)
	flags.StringVar(&verb, "do", "", "")
	flags.StringVar(&s.Node, "node", "", "")
	flags.StringVar(&s.Dir, "dir", "", "")
	flags.StringVar(&s.Report, "report", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch verb {
	case "start":
		return s.Start()
	case "run":
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
		defer stop()
		const started = 3 // the first descriptor after the standard ones
		return s.Run(ctx, os.NewFile(started, "started"))
	}
	return fmt.Errorf("unknown verb %q of the lab's service", verb)
}
