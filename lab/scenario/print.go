package scenario

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/solovip/solovip/lab/verify"
)

// Print returns the text of a scenario, as Parse reads it.
func Print(s Scenario) string {
	var b strings.Builder
	put := func(words ...string) { b.WriteString(strings.TrimRight(strings.Join(words, " "), " ") + "\n") }
	put(nameSection, s.Name)
	put(textSection, s.Text)
	printTopology(s, put)
	for i, set := range s.Settings {
		if i == 0 || !slices.Equal(set.Systems, s.Settings[i-1].Systems) || !slices.Equal(set.Nodes, s.Settings[i-1].Nodes) {
			head := append([]string{"\n" + configureSection}, oneOf(set.Systems...)(nil)...)
			if len(set.Nodes) > 0 {
				head = append(append(head, "on"), set.Nodes...)
			}
			put(head...)
		}
		put("   ", set.Block, set.Line)
	}
	for _, f := range s.Files {
		put("\n"+fileSection, string(f.System), "on", f.Node)
		for line := range strings.Lines(f.Text) {
			put("    |", strings.TrimSuffix(line, "\n"))
		}
	}
	put("\n" + stepsSection)
	printSteps(s.Steps, put)
	printExpect(s, put)
	return b.String()
}

func printTopology(s Scenario, put func(...string)) {
	var lines []topologyLine
	var forms []form
	all := topologyForms()
	add := func(keyword string, l topologyLine) {
		i := slices.IndexFunc(all, func(f form) bool { return f.keyword() == keyword })
		lines, forms = append(lines, l), append(forms, all[i])
	}
	if !slices.Equal(s.Hosts, TwoNodes()) {
		for _, h := range s.Hosts {
			add(string(h.Role), topologyLine{host: h, name: h.Name, number: int(h.Priority)})
		}
	}
	if !slices.Equal(s.Claims, usualClaims()) {
		for _, c := range s.Claims {
			add("claim", topologyLine{claim: c, name: c.Name})
		}
	}
	if s.Group != "" {
		add("group", topologyLine{name: s.Group})
	}
	if s.Web {
		add("service", topologyLine{web: true})
	}
	if s.Begin != "" {
		add("begin-with", topologyLine{begin: s.Begin})
	}
	for i, l := range lines {
		if i == 0 {
			put("\n" + topologySection)
		}
		text, _ := write(forms[i], topologySlots(), &l)
		put("   ", text)
	}
}

func printSteps(steps []Step, put func(...string)) {
	slots, forms := stepSlots(), stepForms()
	for i := 0; i < len(steps); i++ {
		if usual := begin(steps[min(i+1, len(steps)-1)].Host); i+len(usual) <= len(steps) && slices.Equal(steps[i:i+len(usual)], usual) {
			text, _ := write(beginForm, slots, &usual[1])
			put("   ", text)
			i += len(usual) - 1
			continue
		}
		text, _ := write(forms[steps[i].Do], slots, &steps[i])
		put("   ", text)
	}
}

// printExpect writes what is expected, once for systems of which the same is.
func printExpect(s Scenario, put func(...string)) {
	left := maps.Clone(s.Expect)
	for _, system := range Systems() {
		e, ok := left[system]
		if !ok {
			continue
		}
		head := []string{"\n" + expectSection}
		for _, same := range Systems() {
			if other, ok := left[same]; ok && reflect.DeepEqual(other, e) {
				head = append(head, string(same))
				delete(left, same)
			}
		}
		put(head...)
		printOne(e, put)
		for i, other := range e.Others {
			put("   ", claimForm.keyword(), s.Claims[i+1].Name)
			printOne(other, put)
		}
	}
}

func printOne(e verify.Expect, put func(...string)) {
	for _, f := range expectForms() {
		if text, has := write(f, expectSlots(), &e); has {
			put("   ", text)
		}
	}
}
