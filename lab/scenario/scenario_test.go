package scenario

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShippedScenarios(t *testing.T) {
	var last string
	for _, s := range Shipped() {
		if s.Name <= last {
			t.Errorf("%s stands behind %s", s.Name, last)
		}
		last = s.Name
		t.Run(s.Name, func(t *testing.T) {
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
			if s.Text == "" || strings.Contains(s.Text, "\n") {
				t.Errorf("text %q is not one line", s.Text)
			}
			// What is done in isolation is a matter of mode veto, and solovip has no use_vmac.
			without := s.Sets(FencingBlock, "on_isolation") || s.Sets(InstanceBlock, "use_vmac")
			if s.On(Lease) == without {
				t.Errorf("it is played in lease mode: %v, want %v", s.On(Lease), !without)
			}
			for system, e := range s.Expect {
				if system.Permits() && e.TwoAtMost != 0 && s.Begin == "" {
					t.Errorf("%v with two holders are allowed in %s mode", e.TwoAtMost, system)
				}
			}
			// What only solovip can do, keepalived cannot be asked for.
			for _, step := range s.Steps {
				own := step.Do == Handover || step.Do == StandbyOn || step.Do == Lead || step.Host == "w1"
				if own && s.On(Keepalived) {
					t.Errorf("keepalived cannot play %q", step)
				}
			}
		})
	}
}

func TestAFileIsNamedAsItsScenario(t *testing.T) {
	files, err := filepath.Glob("shipped/*.scenario")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".scenario"); !isShipped(name) {
			t.Errorf("%s has no scenario of that name", file)
		}
	}
}

func isShipped(name string) bool {
	_, ok := Find(name)
	return ok
}

// The runner hands a scenario to its other half as JSON: nothing may get lost.
func TestScenarioSurvivesJSON(t *testing.T) {
	for _, s := range Shipped() {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Scenario
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, back, sameScenario); diff != "" {
			t.Errorf("%s: %s", s.Name, diff)
		}
	}
}

func TestValidateNamesTheMistake(t *testing.T) {
	tests := []struct {
		step Step
		want string
	}{
		{Step{Do: PowerOff, Host: "n9"}, `no host "n9"`},
		{Step{Do: Cut, Host: "n1"}, "a host and a peer"},
		{Step{Do: Cut, Host: "n1", Peer: "n9"}, `no host "n9"`},
		{Step{Do: Await, Event: Alone, Host: "n1"}, "a deadline"},
		{Step{Do: Await, Event: "sings", Host: "n1", Within: time.Second}, "a known event"},
		{Step{Do: Drop, Host: "n1", Traffic: "smoke"}, "a known kind of traffic"},
		{Step{Do: Hold}, "a length"},
		{Step{Do: Phase}, "a length"},
		{Step{Do: Forge, Host: "c1"}, "a host and a length"},
		{Step{Do: Clock}, "a jump of at most ten years"},
		{Step{Do: Handover}, "a host"},
		{Step{Do: Handover, Host: "n1", Peer: "n9"}, `no host "n9"`},
		{Step{Do: "dance"}, "unknown verb"},
	}
	for _, tt := range tests {
		s, _ := Find("power-off")
		s.Steps = append(s.Steps, tt.step)
		err := s.Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.step, err, tt.want)
		}
	}
}

func TestLastingStretchesWhatMayLast(t *testing.T) {
	s := Scenario{Steps: []Step{{Do: Hold, For: time.Second}, {Do: Hold, For: time.Second, Free: true}}}
	want := []Step{{Do: Hold, For: time.Second}, {Do: Hold, For: time.Minute, Free: true}}
	if diff := cmp.Diff(want, s.Lasting(time.Minute).Steps); diff != "" {
		t.Error(diff)
	}
	if s.Steps[1].For != time.Second {
		t.Error("the scenario itself has changed")
	}
}

func TestStepsReadAsSentences(t *testing.T) {
	tests := []struct {
		step Step
		want string
	}{
		{Step{Do: Drop, Host: "n2", Traffic: VRRPAdverts, Way: In}, "n2's firewall drops VRRP coming in"},
		{Step{Do: Drop, Host: "n2", Traffic: MeshTraffic, Peer: "w1"}, "n2's firewall drops the mesh, from and to w1"},
		{Step{Do: PowerOff, Host: "n1"}, "power off n1"},
		{Step{Do: Handover, Host: "n1"}, "on n1: solovip handover"},
		{Step{Do: Handover, Host: "n1", Peer: "n2"}, "on n1: solovip handover --to n2"},
		{Step{Do: Handover, Host: "n1", Claim: "VI_2", Peer: "n2"}, "on n1: solovip handover VI_2 --to n2"},
		{Step{Do: StandbyOff, Host: "n1"}, "on n1: solovip standby off"},
		{Step{Do: Forge, Host: "c1", For: time.Second}, "c1 forges adverts of priority 255 for 1s"},
		{Step{Do: Clock, For: 24 * time.Hour}, "the wall clock of all hosts jumps forward by 24h"},
		{Step{Do: Clock, For: -90 * time.Minute}, "the wall clock of all hosts jumps back by 1h30m"},
		{Step{Do: Assign, Host: "n2"}, "put the VIP on n2 by hand"},
		{Step{Do: EndService, Host: "n1"}, "kill the service of n1"},
		{Step{Do: Freeze, Host: "n1"}, "freeze every daemon process of n1"},
		{Step{Do: Cut, Host: "n1", Peer: "n2"}, "cut n1 and n2 at the switch"},
		{Step{Do: Await, Event: Alone, Host: "n2", For: time.Second}, "await: n2 alone answers for the VIP for 1s"},
	}
	for _, tt := range tests {
		if got := tt.step.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Every combination of the matrix is a scenario or has a reason not to be one.
func TestMatrixIsComplete(t *testing.T) {
	for _, peer := range MatrixPeers() {
		for _, traffic := range MatrixTraffic() {
			shipped := 0
			for _, s := range Shipped() {
				for _, step := range s.Steps {
					if step.Do == Block && step.Peer == peer && step.Traffic == traffic {
						shipped++
					}
				}
			}
			want := 3 // one for each direction, and both
			if Meaningless(traffic, peer) != "" {
				want = 0
			}
			if shipped != want {
				t.Errorf("%s between n1 and %s: %d scenarios, want %d", traffic, peer, shipped, want)
			}
		}
	}
}
