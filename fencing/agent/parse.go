package agent

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// State is whether a node is switched on. The zero State is Unknown.
type State uint8

// The states.
const (
	Unknown State = iota
	Off
	On
)

// String returns "unknown", "off" or "on".
func (s State) String() string {
	names := [...]string{"unknown", "off", "on"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// The exit statuses of action=status.
const (
	exitOn  = 0
	exitOff = 2
)

// ParseStatus returns what an agent says with action=status. When its words ("Status: OFF")
// and its exit status contradict each other nobody knows.
func ParseStatus(exit int, output []byte) State {
	state := Unknown
	switch exit {
	case exitOn:
		state = On
	case exitOff:
		state = Off
	}
	for line := range bytes.Lines(output) {
		word, found := bytes.CutPrefix(bytes.ToLower(bytes.TrimSpace(line)), []byte("status:"))
		if !found {
			continue
		}
		said := Unknown
		switch string(bytes.TrimSpace(word)) {
		case "on":
			said = On
		case "off":
			said = Off
		}
		if said != state {
			return Unknown
		}
	}
	return state
}

// Metadata is what an agent says of itself.
type Metadata struct {
	Name       string
	Actions    []string
	Parameters []string // the names of the keys that it knows
}

// ErrMetadata says that an agent's description cannot be read.
var ErrMetadata = errors.New("no description of a fence agent")

// ParseMetadata reads what an agent prints with action=metadata. Some print a line of text
// before it.
func ParseMetadata(output []byte) (Metadata, error) {
	var doc struct {
		XMLName    xml.Name `xml:"resource-agent"`
		Name       string   `xml:"name,attr"`
		Parameters []struct {
			Name string `xml:"name,attr"`
		} `xml:"parameters>parameter"`
		Actions []struct {
			Name string `xml:"name,attr"`
		} `xml:"actions>action"`
	}
	at := bytes.Index(output, []byte("<resource-agent"))
	if at < 0 {
		return Metadata{}, ErrMetadata
	}
	if err := xml.Unmarshal(output[at:], &doc); err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	m := Metadata{Name: doc.Name}
	for _, a := range doc.Actions {
		m.Actions = append(m.Actions, a.Name)
	}
	for _, p := range doc.Parameters {
		m.Parameters = append(m.Parameters, p.Name)
	}
	return m, nil
}

// lacks returns the actions that the agent does not have of those that are needed.
func (m Metadata) lacks(needed ...string) string {
	return strings.Join(slices.DeleteFunc(needed, func(a string) bool { return slices.Contains(m.Actions, a) }), ", ")
}
