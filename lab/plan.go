package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/internal/nearest"
	"github.com/solovip/solovip/lab/scenario"
)

// plan turns the arguments into the runs to make.
func plan(c *cli.Context) (program, error) {
	chosen, err := choose(c.Args().Slice(), c.Bool("all"), c.String("match"))
	if err != nil {
		return program{}, err
	}
	named := c.Args().Present()
	systems, err := chooseSystems(c.StringSlice("system"), named, c.Bool("keepalived"))
	if err != nil {
		return program{}, err
	}
	if c.Int("repeat") < 1 || c.Int("jobs") < 1 {
		return program{}, errors.New("--repeat and --jobs are at least 1")
	}
	seed := c.Uint64("seed")
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	p := program{jobs: c.Int("jobs"), limit: c.Float64("ratio")}
	for _, s := range chosen {
		if window := c.Duration("window"); window > 0 {
			s = s.Lasting(window)
		}
		missing := slices.IndexFunc(systems, func(system scenario.System) bool { return !s.On(system) })
		switch {
		case missing >= 0 && named:
			return program{}, fmt.Errorf("%s cannot be played on %s: it expects nothing of it (give --system: %s)", s.Name, systems[missing], systemNames(s.On))
		case missing >= 0 && c.Bool("compare"):
			continue
		}
		// One system after the other each time, so that what else the machine does meets all.
		for n := range c.Int("repeat") {
			for _, system := range systems {
				if s.On(system) {
					p.runs = append(p.runs, newRun(s, system, n+1, seed+uint64(n)))
				}
			}
		}
	}
	if len(p.runs) == 0 {
		return program{}, errors.New("none of these scenarios is played on these systems")
	}
	for _, r := range p.runs {
		r.machine = r.machine || c.Bool("machine")
		if r.machine && c.Bool("keep") {
			return program{}, fmt.Errorf("%s is played in a machine of its own, which ends with the run: leave out --keep", r.Scenario)
		}
	}
	return p, p.useBinary(c.String("binary"), c.Bool("keep"))
}

// systemNames lists those of all systems that are wanted.
func systemNames(wanted func(scenario.System) bool) string {
	var names []string
	for _, system := range scenario.Systems() {
		if wanted(system) {
			names = append(names, string(system))
		}
	}
	return strings.Join(names, ", ")
}

// choose returns the scenarios that are named, or all, or those whose names match.
func choose(names []string, all bool, match string) ([]scenario.Scenario, error) {
	var chosen []scenario.Scenario
	if all || match != "" {
		pattern, err := regexp.Compile(match)
		if err != nil {
			return nil, fmt.Errorf("--match: %w", err)
		}
		for _, s := range scenario.Shipped() {
			if pattern.MatchString(s.Name) {
				chosen = append(chosen, s)
			}
		}
	}
	for _, name := range names {
		s, err := find(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, s)
	}
	switch {
	case len(chosen) == 0 && match != "":
		return nil, fmt.Errorf("no scenario matches %q (see: solovip lab list)", match)
	case len(chosen) == 0:
		return nil, errors.New("name a scenario (see: solovip lab list), or give --all or --match")
	}
	return chosen, nil
}

// find returns the scenario of a name, or that of a file: a name has no dot and no slash.
func find(name string) (scenario.Scenario, error) {
	if strings.ContainsAny(name, "./") {
		text, err := os.ReadFile(name)
		if err != nil {
			return scenario.Scenario{}, fmt.Errorf("read a scenario: %w", err)
		}
		return scenario.Parse(name, string(text))
	}
	s, ok := scenario.Find(name)
	if !ok {
		var have []string
		for _, s := range scenario.Shipped() {
			have = append(have, s.Name)
		}
		remedy := "there are: " + strings.Join(have, ", ")
		if near := nearest.Word(name, have); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
		return scenario.Scenario{}, fmt.Errorf("there is no scenario %q; %s", name, remedy)
	}
	return s, nil
}

// chooseSystems returns the systems of the given names. When there are none it is lease,
// and where no scenario is named, so that each may be played or not, quorum too.
func chooseSystems(names []string, named, keepalived bool) ([]scenario.System, error) {
	if len(names) == 0 {
		names = []string{string(scenario.Lease)}
		if !named {
			names = append(names, string(scenario.Quorum))
		}
	}
	if keepalived {
		names = append(names, string(scenario.Keepalived))
	}
	var systems []scenario.System
	for _, name := range names {
		system := scenario.System(name)
		if !slices.Contains(scenario.Systems(), system) {
			return nil, fmt.Errorf("unknown system %q; there are: %s", name, systemNames(func(scenario.System) bool { return true }))
		}
		if !slices.Contains(systems, system) {
			systems = append(systems, system)
		}
	}
	return systems, nil
}
