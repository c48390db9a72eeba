package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/lab"
)

// Exit codes, as docs/operations.md documents them.
const (
	exitFailed  = 1 // what was asked for could not be done; no daemon answers
	exitUsage   = 2 // a mistake in the command line, or errors in a configuration
	exitFenced  = 3 // fence status: this node is fenced from a claim
	exitNotSafe = 4 // fence status: degraded or unsafe
)

// version is set by the linker: see the Makefile.
var version = ""

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

// run runs the command that args name and returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	app := newApp(out, errOut)
	return exitCode(app.RunContext(ctx, flagsFirst(app.Commands, args)), errOut)
}

func newApp(out, errOut io.Writer) *cli.App {
	app := &cli.App{
		Name:                   "solovip",
		Usage:                  "one virtual IP, one holder, always",
		HideVersion:            true,
		HideHelpCommand:        true,
		UseShortOptionHandling: true, // keepalived takes -nlD
		Writer:                 out,
		ErrWriter:              errOut,
		OnUsageError:           usageError,
		ExitErrHandler:         func(*cli.Context, error) {}, // run alone ends the program
		Action:                 noCommand,
		Commands: []*cli.Command{
			nodeCommand(), witnessCommand(), statusCommand(), fenceCommand(), handoverCommand(), standbyCommand(), trustWitnessCommand(),
			lvsCommand(), configCommand(), keygenCommand(), genhashCommand(), splitCommand(), lab.Command(), versionCommand(),
		},
	}
	for _, c := range app.Commands {
		complete(c)
	}
	return app
}

// complete gives a command and those below it what all have in common.
func complete(c *cli.Command) {
	c.OnUsageError = usageError
	c.HideHelpCommand = true
	c.UseShortOptionHandling = true
	if c.Action == nil {
		c.Action = noCommand
	}
	for _, sub := range c.Subcommands {
		complete(sub)
	}
}

// noCommand stands where a command is missing: it shows what there is.
func noCommand(c *cli.Context) error {
	name := c.Command.HelpName
	if len(c.Lineage()) <= 2 { // the program itself
		name = c.App.Name
	}
	if c.Args().Present() {
		return cli.Exit(fmt.Sprintf("there is no command '%s %s': '%s --help' lists them", name, c.Args().First(), name), exitUsage)
	}
	if name == c.App.Name {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

func usageError(c *cli.Context, err error, _ bool) error {
	return cli.Exit(fmt.Sprintf("%v: '%s --help' lists the flags", err, c.Command.HelpName), exitUsage)
}

// noArguments refuses words that a command would not look at.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return cli.Exit(fmt.Sprintf("%q is not understood: '%s --help' shows the usage", c.Args().First(), c.Command.HelpName), exitUsage)
	}
	return nil
}

// exitCode prints the error of a command, if it has something to say, and returns its code.
func exitCode(err error, errOut io.Writer) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintf(errOut, "solovip: %s\n", text) // there is nobody left to tell
	}
	if coder, ok := errors.AsType[cli.ExitCoder](err); ok {
		return coder.ExitCode()
	}
	return exitFailed
}

// flagsFirst moves the flags of a command before its arguments, where the flag library
// looks for them: people write both orders.
func flagsFirst(commands []*cli.Command, args []string) []string {
	i := 1
	var command *cli.Command
	for ; i < len(args); i++ {
		next := find(commands, args[i])
		if next == nil {
			break
		}
		command, commands = next, next.Subcommands
	}
	if command == nil || command.SkipFlagParsing {
		return args
	}
	flags, words := []string{}, []string{}
	for ; i < len(args); i++ {
		word := args[i]
		if word == "--" {
			words = append(words, args[i:]...)
			break
		}
		if len(word) < 2 || word[0] != '-' {
			words = append(words, word)
			continue
		}
		flags = append(flags, word)
		if takesValue(command, word) && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	head := args[:len(args)-len(flags)-len(words)]
	return append(append(append([]string{}, head...), flags...), words...)
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue reports whether the flag's value is the next word. Of several short flags
// in one word the last one decides.
func takesValue(command *cli.Command, word string) bool {
	if strings.Contains(word, "=") {
		return false
	}
	name := strings.TrimLeft(word, "-")
	if !strings.HasPrefix(word, "--") && len(name) > 1 && !hasFlag(command, name) {
		name = name[len(name)-1:]
	}
	for _, f := range command.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

func hasFlag(command *cli.Command, name string) bool {
	return slices.ContainsFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version",
		Before: noArguments,
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "solovip %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// versionText returns the version that the Makefile has set, else what Go knows.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
