package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// number reads a whole number from lo to hi. When it is none, the finding says the
// effect, and ok is false.
func (l *loader) number(sev Severity, keyword string, w syntax.Word, lo, hi int, effect string) (n int, ok bool) {
	digits := strings.TrimPrefix(w.Text, "+")
	negative := strings.HasPrefix(digits, "-")
	digits = strings.TrimPrefix(digits, "-")
	if digits == "" || len(digits) > 10 || strings.Trim(digits, "0123456789") != "" {
		l.add(sev, w, numberRemedy(w.Text, fmt.Sprintf("write a number from %d to %d", lo, hi)), "%s %s is no number: %s", keyword, quote(w.Text), effect)
		return 0, false
	}
	for _, d := range digits {
		n = n*10 + int(d-'0')
	}
	if negative {
		n = -n
	}
	if n < lo || n > hi {
		l.add(sev, w, fmt.Sprintf("write a number from %d to %d", lo, hi), "%s %s is not between %d and %d: %s", keyword, w.Text, lo, hi, effect)
		return 0, false
	}
	return n, true
}

// numberRemedy says what to do about a word that is no number: the usual, unless it shows
// what went wrong.
func numberRemedy(word, usual string) string {
	if strings.HasPrefix(word, "$") {
		return "define " + strings.Trim(word, "${}") + " in a line before its use"
	}
	if cut := strings.TrimRight(word, "abcdefghijklmnopqrstuvwxyz;,%"); cut != word && cut != "" && strings.Trim(cut, "0123456789.") == "" {
		return "write " + cut
	}
	return usual
}

// seconds reads a time in seconds, with up to six decimals.
func (l *loader) seconds(sev Severity, keyword string, w syntax.Word, lo, hi time.Duration, effect string) (time.Duration, bool) {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(w.Text, "+"), ".")
	if whole+fraction == "" || len(whole) > 9 || strings.Trim(whole+fraction, "0123456789") != "" {
		l.add(sev, w, numberRemedy(w.Text, fmt.Sprintf("write a number of seconds from %s to %s", inSeconds(lo), inSeconds(hi))), "%s %s is no time in seconds: %s", keyword, quote(w.Text), effect)
		return 0, false
	}
	micros := 0
	for _, d := range whole + (fraction + "000000")[:6] {
		micros = micros*10 + int(d-'0')
	}
	t := time.Duration(micros) * time.Microsecond
	if t < lo || t > hi {
		l.add(sev, w, fmt.Sprintf("write a number of seconds from %s to %s", inSeconds(lo), inSeconds(hi)),
			"%s %s is not between %s and %s seconds: %s", keyword, w.Text, inSeconds(lo), inSeconds(hi), effect)
		return 0, false
	}
	return t, true
}

// inSeconds returns d as the configuration has it: seconds, with as many decimals as needed.
func inSeconds(d time.Duration) string {
	s := fmt.Sprintf("%.6f", d.Seconds())
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// boolean reads a BOOL; an absent one is true. One that is neither is ignored.
func (l *loader) boolean(n *syntax.Node) (on, ok bool) {
	if len(n.Args()) == 0 {
		return true, true
	}
	w := n.Args()[0]
	switch w.Text {
	case "on", "true", "yes":
		return true, true
	case "off", "false", "no":
		return false, true
	}
	l.warn(w, "write on or off", "%s %s is neither on nor off: it is ignored", n.Keyword(), quote(w.Text))
	return false, false
}
