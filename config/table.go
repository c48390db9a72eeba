package config

import (
	"cmp"
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed keywords.md
var keywordsText string

// row is one keyword of a section of keywords.md.
type row struct {
	keyword string
	args    string // "0", "1" or "?"
	inside  string // section of its block; "*": entries; "-": no block
	state   string // "yes", "read", "no" or "old"
	note    string
}

// block reports whether the keyword has a block.
func (r row) block() bool { return r.inside != "-" }

// sections returns keywords.md as a map of sections, each with its rows in order.
var sections = sync.OnceValue(func() map[string][]row { //nolint:gochecknoglobals // a table
	out := make(map[string][]row)
	section := ""
	for line := range strings.Lines(keywordsText) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "## "); ok {
			name, parent, _ := strings.Cut(name, ":")
			section = strings.TrimSpace(name)
			out[section] = slices.Clone(out[strings.TrimSpace(parent)])
			continue
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| keyword ") {
			continue
		}
		f := strings.Split(strings.Trim(line, "|"), "|")
		if len(f) != 5 || section == "" {
			panic("config: keywords.md: bad row: " + line)
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		out[section] = append(out[section], row{f[0], f[1], f[2], f[3], f[4]})
	}
	return out
})

// find returns the row of a keyword in a section.
func find(section, keyword string) (row, bool) {
	for _, r := range sections()[section] {
		if r.keyword == keyword {
			return r, true
		}
	}
	return row{}, false
}

// homes returns the sections that know a keyword, those that are used most first.
func homes(keyword string) []string {
	used := []string{"vrrp_instance", "vrrp_script", "global_defs", "authentication"}
	var out []string
	for name := range sections() {
		if _, ok := find(name, keyword); ok {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		i, j := slices.Index(used, a), slices.Index(used, b)
		return cmp.Or(cmp.Compare(uint(i), uint(j)), cmp.Compare(a, b)) // -1, unused, is the largest
	})
	return out
}

// addressLists are the blocks whose entries are addresses: no keyword can be one.
var addressLists = []string{"virtual_ipaddress", "virtual_ipaddress_excluded", "unicast_peer"} //nolint:gochecknoglobals // a table

// level tells the parser in which of the open blocks a statement belongs, so that a
// missing } is found where it is missing: a keyword that the innermost block does not know
// but one around it does, or an entry that opens a block.
func level(path []string, keyword string, block bool) int {
	chain := []string{"root"} // the section inside each block of path
	for _, k := range path {
		r, ok := find(chain[len(chain)-1], k)
		if !ok || !r.block() {
			return len(path)
		}
		chain = append(chain, r.inside)
	}
	entries := chain[len(chain)-1] == "*"
	if _, known := find(chain[len(chain)-1], keyword); known {
		return len(path)
	}
	if entries && !block && !slices.Contains(addressLists, path[len(path)-1]) {
		return len(path)
	}
	for i := len(chain) - 2; i >= 0; i-- {
		r, known := find(chain[i], keyword)
		if known && (i > 0 || r.block()) && (!entries || !block || r.block()) {
			return i
		}
	}
	if !block {
		return len(path)
	}
	for i, section := range slices.Backward(chain) { // a block whose keyword is mistyped
		if meantBlock(section, keyword) {
			return i
		}
	}
	return len(path)
}

// meantBlock reports whether a keyword was meant to be that of a block of the section.
func meantBlock(section, keyword string) bool {
	r, _ := guess(section, keyword)
	return r.block()
}
