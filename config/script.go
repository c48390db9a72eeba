package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// maxScriptTime bounds intervals and timeouts of scripts, as keepalived does.
const maxScriptTime = 4294 * time.Second

// readScript reads a vrrp_script. One that cannot be run is kept in the settings, but no
// instance tracks it: keepalived disables it, and so never fails over it.
func (l *loader) readScript(block *syntax.Node) {
	name := block.Args()[0]
	if slices.ContainsFunc(l.cfg.Scripts, func(s Script) bool { return s.Name == name.Text }) {
		l.warn(name, "rename one of the two, or take it out", "vrrp_script %s is defined twice: the first one is used", quote(name.Text))
		return
	}
	s := Script{Name: name.Text, Interval: time.Second, Rise: 1, Fall: 1, Pos: name.Pos}
	usable := false
	for _, n := range l.good(block) {
		switch n.Keyword() {
		case "script":
			s.Command, usable = l.scriptCommand(n)
		case "user":
			var ok bool
			if s.User, ok = l.user(n.Args(), "keepalived removes the script, and no instance tracks it"); !ok {
				defer func() { l.scripts[s.Name] = false }()
			}
		default:
			l.scriptKeyword(&s, n)
		}
	}
	if s.Command.Text == "" && !slices.ContainsFunc(block.Children, func(n *syntax.Node) bool { return n.Keyword() == "script" }) {
		l.warn(name, `write script "/path/to/program arguments"`, "vrrp_script %s has no script: keepalived removes it", quote(name.Text))
	}
	if s.Timeout == 0 {
		s.Timeout = s.Interval
	}
	l.scripts[s.Name] = usable
	l.cfg.Scripts = append(l.cfg.Scripts, s)
}

// scriptKeyword reads the keywords of a vrrp_script that are numbers.
func (l *loader) scriptKeyword(s *Script, n *syntax.Node) {
	period := func(to *time.Duration) {
		w := n.Args()[0]
		d, ok := l.seconds(Warning, n.Keyword(), w, 0, maxScriptTime, "it is ignored")
		if !ok {
			return
		}
		if d == 0 {
			l.warn(w, "write a number of seconds greater than 0", "%s must be greater than 0: 1 is used", n.Keyword())
			d = time.Second
		}
		*to = d
	}
	count := func(to *int) {
		*to = 1
		if v, ok := l.number(Warning, n.Keyword(), n.Args()[0], 1, 1<<31-1, "1 is used"); ok {
			*to = v
		}
	}
	switch n.Keyword() {
	case "interval":
		period(&s.Interval)
	case "timeout":
		period(&s.Timeout)
	case "rise":
		count(&s.Rise)
	case "fall":
		count(&s.Fall)
	case "init_fail":
		s.InitFail = true
	case "weight":
		v, ok := l.number(Warning, "weight", n.Args()[0], -253, 253, "it is ignored")
		if !ok {
			return
		}
		s.Weight = v
		if more := n.Args()[1:]; len(more) > 0 {
			if s.Reverse = more[0].Text == "reverse"; !s.Reverse {
				l.warn(more[0], didYouMean(more[0].Text, []string{"reverse"}), "weight takes no %s: it is ignored", quote(more[0].Text))
			}
		}
	}
}

// scriptCommand reads the command of a vrrp_script, and whether it can be run.
func (l *loader) scriptCommand(n *syntax.Node) (Command, bool) {
	c, more, ok := l.command(n)
	if !ok {
		return c, false
	}
	if len(more) > 0 {
		l.warn(more[0], fmt.Sprintf("put the whole command in double quotes: script %s", quote(c.Text+" ...")),
			"%s is not part of the command: keepalived runs %s without it", quote(more[0].Text), c.Args[0])
	}
	return c, l.runnable(n, c, "keepalived disables the script, so it never fails")
}

// notifyCommand reads the command of a notify keyword: behind it may stand a user and a
// group. It returns no command when keepalived would ignore it.
func (l *loader) notifyCommand(n *syntax.Node) Command {
	c, more, ok := l.command(n)
	if !ok {
		return Command{}
	}
	if len(more) > 0 {
		w, group := more[0], ""
		if len(more) > 1 {
			group = strings.TrimPrefix(more[1].Text, ":")
		}
		if err := l.opt.User(w.Text, group); err != nil {
			l.warn(w, fmt.Sprintf("to pass it to the script, quote the whole command: %s %s", n.Keyword(), quote(c.Text+" "+w.Text)),
				"keepalived takes %s for the user to run the script as (%v), and ignores the script", quote(w.Text), err)
			return Command{}
		}
		c.User = w.Text
		if group != "" {
			c.User += ":" + group
		}
	}
	l.runnable(n, c, "keepalived ignores it")
	return c
}

// command reads the first word behind a keyword as a command. more are the words behind it.
func (l *loader) command(n *syntax.Node) (c Command, more []syntax.Word, ok bool) {
	words, err := n.Script()
	if err == nil && len(words) > 0 {
		c.Args, err = syntax.SplitCommand(words[0].Text)
	}
	if err != nil || len(words) == 0 || len(c.Args) == 0 || c.Args[0] == "" {
		why := "is empty"
		if err != nil {
			why = "has a " + err.Error()
		}
		l.fail(n.Args()[0], "put the command in double quotes, and what belongs together in it in single quotes", "the command of %s %s: keepalived drops it", n.Keyword(), why)
		return Command{}, nil, false
	}
	c.Text, c.Pos = words[0].Text, words[0].Pos
	if why, shell := needsShell(c.Text); why != "" {
		l.warn(words[0], "to have it run by keepalived too, write it into a file, or: "+shellRemedy(shell, c.Text),
			"keepalived runs no shell, so %s would not work there; solovip runs it with %s -c", why, shell)
		c.Args = []string{shell, "-c", c.Text}
	}
	return c, words[1:], true
}

// shellRemedy returns the command written so that keepalived runs the shell.
func shellRemedy(shell, text string) string {
	if strings.ContainsAny(text, `'"\`) {
		return quote(shell + " /path/to/file")
	}
	return quote(fmt.Sprintf("%s -c '%s'", shell, text))
}

// runnable warns when a program is not there or cannot be run.
func (l *loader) runnable(n *syntax.Node, c Command, effect string) bool {
	if err := l.opt.Program(c.Args[0]); err != nil {
		l.warn(n.Args()[0], "write its full path; it must exist and be executable on this host", "%s %s: %v: %s", n.Keyword(), c.Args[0], err, effect)
		return false
	}
	return true
}

// The shells that a command which needs one is run with. Bash is asked for only when the
// text is not understood by others.
const (
	shell = "/bin/sh"
	bash  = "/bin/bash"
)

// shellWords are words that mean something to a shell where a program should stand.
var shellWords = []string{ //nolint:gochecknoglobals // a table
	"!", ".", ":", "(", "{", "case", "cd", "eval", "exit", "export", "for", "function", "if",
	"return", "set", "source", "trap", "ulimit", "umask", "until", "while",
}

// needsShell looks for what only a shell understands, outside of single quotes, and
// returns it with the shell to use. It is careful: keepalived hands &, | and > on as
// arguments when they are part of a longer word, as in an URL.
func needsShell(text string) (why, with string) {
	if w := shellSyntax(text); w != "" {
		return quote(w), bash
	}
	for i, w := range bareWords(text) {
		switch {
		case i == 0 && slices.Contains(shellWords, w):
		case w == "&&", w == "||", w == "|", w == ";", w == "&":
		case len(w) > 1 && strings.HasSuffix(w, ";"):
		case redirects(w):
		case strings.Contains(w, "`"), strings.Contains(w, "$("):
		default:
			continue
		}
		return quote(w), shell
	}
	return "", ""
}

// shellSyntax returns the first word that only bash understands, or "".
func shellSyntax(text string) string {
	for i, w := range bareWords(text) {
		switch {
		case w == "[[", strings.HasPrefix(w, "(("), strings.HasPrefix(w, "<("), strings.HasPrefix(w, "&>"):
			return w
		case i == 0 && (w == "source" || w == "function"):
			return w
		}
	}
	return ""
}

// redirects reports whether a word is a redirection: >file, 2>&1, <file, >>file.
func redirects(w string) bool {
	w = strings.TrimLeft(w, "0123456789&")
	if w == "" || w[0] != '>' && w[0] != '<' {
		return false
	}
	return !strings.HasSuffix(w, ">") || strings.Trim(w, "<>") == ""
}

// bareWords returns the words of a command without what stands in single quotes.
func bareWords(text string) []string {
	var b strings.Builder
	quoted := false
	for _, r := range text {
		switch {
		case r == '\'':
			quoted = !quoted
			b.WriteByte('\'') // a quoted word is not a bare one
		case !quoted:
			b.WriteRune(r)
		}
	}
	return strings.Fields(b.String())
}
