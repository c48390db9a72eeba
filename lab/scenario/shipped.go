package scenario

import (
	"embed"
	"net/netip"
	"slices"
	"strings"
)

// TwoNodes returns the hosts of the usual lab: two nodes, of which n1 is preferred, a
// witness and a client.
func TwoNodes() []Host {
	return []Host{
		{Name: "n1", Role: Node, Addr: netip.MustParseAddr("10.77.0.11"), Priority: 150},
		{Name: "n2", Role: Node, Addr: netip.MustParseAddr("10.77.0.12"), Priority: 100},
		{Name: "w1", Role: Witness, Addr: netip.MustParseAddr("10.77.0.13")},
		{Name: "c1", Role: Client, Addr: netip.MustParseAddr("10.77.0.50")},
	}
}

// usualClaims returns the one claim of the usual lab.
func usualClaims() []Claim {
	return []Claim{{Name: "VI_1", VIP: netip.MustParsePrefix("10.77.0.100/24")}}
}

//go:embed shipped/*.scenario
var shipped embed.FS

// Shipped returns the scenarios that come with solovip, in the order of their names: those
// of the files in shipped, and the matrix.
func Shipped() []Scenario {
	const folder = "shipped"
	entries, err := shipped.ReadDir(folder)
	if err != nil {
		panic("scenario: " + err.Error()) // it is part of the program
	}
	var all []Scenario
	for _, e := range entries {
		path := folder + "/" + e.Name()
		text, err := shipped.ReadFile(path)
		if err != nil {
			panic("scenario: " + err.Error())
		}
		s, err := Parse(path, string(text))
		if err != nil {
			panic("scenario: " + err.Error())
		}
		all = append(all, s)
	}
	all = append(all, matrix()...)
	slices.SortFunc(all, func(a, b Scenario) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Find returns the shipped scenario of that name.
func Find(name string) (Scenario, bool) {
	for _, s := range Shipped() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
