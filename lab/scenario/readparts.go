package scenario

import (
	"slices"

	"github.com/solovip/solovip/lab/verify"
)

// configure begins a section of settings: configure [SYSTEM...] [on NODE...].
func (r *reader) configure(l line) {
	r.setting = Setting{}
	systems, nodes := l.words[1:], []word(nil)
	if i := slices.IndexFunc(systems, func(w word) bool { return w.text == "on" }); i >= 0 {
		systems, nodes = systems[:i], systems[i+1:]
		if len(nodes) == 0 {
			r.fail(l, l.end(), "write: configure [SYSTEM...] on NODE...", "no node is named")
		}
	}
	r.setting.Systems = r.readSystems(l, systems)
	for _, w := range nodes {
		if !r.isNode(l, w) {
			return
		}
		r.setting.Nodes = append(r.setting.Nodes, w.text)
	}
}

func (r *reader) isNode(l line, w word) bool {
	nodes := hostsOf(Node)(&r.scenario)
	if slices.Contains(nodes, w.text) {
		return true
	}
	r.unknown(l, w, "a node", nodes)
	return false
}

// readSystems returns the systems that the words name.
func (r *reader) readSystems(l line, words []word) []System {
	var systems []System
	for _, w := range words {
		switch system := System(w.text); {
		case !slices.Contains(Systems(), system):
			r.unknown(l, w, "a system", oneOf(Systems()...)(nil))
		case slices.Contains(systems, system):
			r.fail(l, w, "name it once", "%s is there twice", quote(w.text))
		default:
			systems = append(systems, system)
		}
	}
	return systems
}

func (r *reader) configureLine(l line) {
	blocks := Blocks()
	for _, c := range r.scenario.Claims {
		blocks = append(blocks, c.Name)
	}
	w := l.words[0]
	switch {
	case !slices.Contains(blocks, w.text):
		r.unknown(l, w, "a block", blocks)
	case l.rest == "":
		r.fail(l, l.end(), "write: BLOCK KEYWORD VALUE...", "%s ends where a line of configuration should stand", quote(w.text))
	default:
		set := r.setting
		set.Systems, set.Nodes = slices.Clone(set.Systems), slices.Clone(set.Nodes)
		set.Block, set.Line = w.text, l.rest
		r.scenario.Settings = append(r.scenario.Settings, set)
	}
}

// beginFile begins the whole configuration of a node: file SYSTEM on NODE.
func (r *reader) beginFile(l line) {
	if len(l.words) != 4 || l.words[2].text != "on" {
		r.fail(l, l.end(), "write: file SYSTEM on NODE", "a file is that of one system on one node")
		return
	}
	systems := r.readSystems(l, l.words[1:2])
	if !r.isNode(l, l.words[3]) || len(systems) == 0 {
		return
	}
	if _, twice := r.scenario.File(systems[0], l.words[3].text); twice {
		r.fail(l, l.words[0], "take one of them out", "the file of %s on %s is there twice", systems[0], l.words[3].text)
	}
	r.scenario.Files = append(r.scenario.Files, File{System: systems[0], Node: l.words[3].text})
}

func (r *reader) fileLine(l line) {
	n := len(r.scenario.Files)
	if r.section != fileSection || n == 0 {
		r.fail(l, l.words[0], "begin one with: file SYSTEM on NODE", "a line with a bar stands in no file")
		return
	}
	r.scenario.Files[n-1].Text += l.barred + "\n"
}

// beginExpect begins an expectation: expect SYSTEM...
func (r *reader) beginExpect(l line) {
	r.expect, r.other = verify.Expect{}, -1
	for _, f := range expectForms() {
		delete(r.said, f.keyword())
	}
	if len(l.words) < 2 {
		r.fail(l, l.end(), "write: expect SYSTEM...", "no system is named")
	}
	r.systems = r.readSystems(l, l.words[1:])
	for i, system := range r.systems {
		if r.scenario.On(system) {
			r.fail(l, l.words[i+1], "take one of them out", "what is expected of %s is there twice", system)
		}
	}
}

func (r *reader) expectLine(l line) {
	f, ok := r.form(l, "an expectation", append(expectForms(), claimForm))
	switch {
	case !ok:
		return
	case r.said[f.keyword()] && f != claimForm:
		r.fail(l, l.words[0], "write: "+string(f), "%s is there twice", quote(f.keyword()))
	case len(l.words) == 1:
		r.fail(l, l.end(), "write: "+string(f), "%s says nothing", quote(f.keyword()))
	case l.words[1].text == "never" && len(l.words) > 2:
		r.fail(l, l.words[2], "write one of them", "%s contradicts never", quote(l.words[2].text))
	case f == claimForm:
		r.expectOther(l)
	case r.other < 0:
		fill(r, l, f, expectSlots(), &r.expect)
	default:
		fill(r, l, f, expectSlots(), &r.expect.Others[r.other])
	}
	r.said[f.keyword()] = true
}

// expectOther begins what is expected of a further claim.
func (r *reader) expectOther(l line) {
	for _, f := range expectForms() {
		delete(r.said, f.keyword())
	}
	var about Step
	before := len(r.mistakes)
	fill(r, l, claimForm, stepSlots(), &about)
	i := slices.IndexFunc(r.scenario.Claims, func(c Claim) bool { return c.Name == about.Claim }) - 1
	switch {
	case len(r.mistakes) > before:
	case i == -1:
		r.fail(l, l.words[1], "write it above, without this line", "%s is the first claim", quote(about.Claim))
	case i != r.other+1:
		r.fail(l, l.words[1], "write of claims in the order of the topology", "%s stands in the wrong place", quote(about.Claim))
	default:
		r.other, r.expect.Others = i, append(r.expect.Others, verify.Expect{})
	}
}

// closeSection keeps what the section at hand has gathered.
func (r *reader) closeSection() {
	if r.section != expectSection {
		return
	}
	if r.scenario.Expect == nil {
		r.scenario.Expect = map[System]verify.Expect{}
	}
	for _, system := range r.systems {
		r.scenario.Expect[system] = r.expect
	}
	r.systems = nil
}
