package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/solovip/solovip/arbiter"
)

// A message is one byte, the version in its upper and the kind in its lower half,
// and a JSON object. Keys that a reader does not know are skipped, so that a newer
// member may add some; what an older one would misread takes a new version.
const (
	wireVersion = 1

	kindReports kind = 1
	kindRequest kind = 2
	kindAnswer  kind = 3
)

// The bounds of what is sent and accepted. A message beyond them is not sent, and
// dropped as malformed when it comes.
const (
	maxMembers = 32      // of a cluster, this one included
	maxName    = 64      // bytes of a member's name and of the cluster's
	maxText    = 128     // bytes of a claim's name, an address, a state
	maxWhy     = 512     // bytes of Answer.Why; longer ones are cut
	maxClaims  = 1024    // of one report
	maxMessage = 1 << 19 // bytes of a message; a report of maxClaims claims fits
	maxPacket  = 1200    // bytes of a message that goes by UDP
)

// maxPacket leaves room, in a packet of 1400 bytes, for the label (66), encryption
// (29), UDP and IPv6 (48). The smallest MTU met in practice is that of tunnels, and
// a fragmented packet is lost when any of its parts is, or dropped by a filter.

// kind is what a message carries.
type kind uint8

// message is what one member sends another.
type message struct {
	kind kind

	// From is the member that sent this copy, which need not be its origin.
	From string `json:"from"`

	// Run marks the process that asks: a Request's ID is unique in it only. A relay and
	// the answer repeat it.
	Run uint64 `json:"run,omitempty"`

	// Yours is the newest report of the receiver's that the sender has from anyone. A
	// member that finds itself behind (it was restarted, and lost its incarnation)
	// would be taken for old news; so it learns how far it must go.
	Yours *stamp `json:"yours,omitempty"`

	Reports []arbiter.Report `json:"reports,omitempty"`
	Request *arbiter.Request `json:"request,omitempty"`
	Answer  *arbiter.Answer  `json:"answer,omitempty"`
}

// stamp orders the reports of one member.
type stamp struct {
	Incarnation uint64 `json:"incarnation"`
	Seq         uint64 `json:"seq"`
}

func stampOf(r arbiter.Report) stamp { return stamp{r.Incarnation, r.Seq} }

// newer reports whether s comes after old.
func (s stamp) newer(old stamp) bool {
	return arbiter.Report{Incarnation: s.Incarnation, Seq: s.Seq}.Newer(
		arbiter.Report{Incarnation: old.Incarnation, Seq: old.Seq})
}

var (
	errNewer   = errors.New("message of a newer version")
	errUnknown = errors.New("message of an unknown kind")
	errTooLong = fmt.Errorf("message longer than %d bytes", maxMessage)
)

// encode returns m as bytes. The caller keeps to the bounds.
func encode(m message) []byte {
	return appendJSON(m.kind, m)
}

// appendJSON returns the header byte for k and v in JSON.
func appendJSON(k kind, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic("mesh: a message is plain data and can be encoded: " + err.Error())
	}
	return append([]byte{wireVersion<<4 | byte(k)}, body...)
}

// parse is the reverse of encode. It accepts nothing beyond the bounds; whether the
// names in it belong to members is for the caller to see.
func parse(b []byte) (message, error) {
	if len(b) == 0 {
		return message{}, errors.New("empty message")
	}
	if len(b) > maxMessage {
		return message{}, errTooLong
	}
	if version := b[0] >> 4; version != wireVersion {
		if version > wireVersion {
			return message{}, errNewer
		}
		return message{}, fmt.Errorf("message of version %d", version)
	}
	m := message{kind: kind(b[0] & 0x0f)}
	if m.kind < kindReports || m.kind > kindAnswer {
		return message{}, errUnknown
	}
	if err := json.Unmarshal(b[1:], &m); err != nil {
		return message{}, fmt.Errorf("decode message: %w", err)
	}
	if err := m.check(); err != nil {
		return message{}, err
	}
	return m, nil
}

// check holds m to the bounds and to its kind.
func (m *message) check() error {
	if err := checkText("sender", m.From, maxName); err != nil {
		return err
	}
	switch m.kind {
	case kindReports:
		if len(m.Reports) > maxMembers {
			return fmt.Errorf("%d reports in a message; at most %d", len(m.Reports), maxMembers)
		}
		for _, r := range m.Reports {
			if err := checkReport(r); err != nil {
				return err
			}
		}
		m.Request, m.Answer = nil, nil
	case kindRequest:
		if m.Request == nil {
			return errors.New("message without its request")
		}
		m.Reports, m.Answer = nil, nil
		return errors.Join(checkText("asking member", m.Request.From, maxName),
			checkText("asked member", m.Request.To, maxName),
			checkText("claim", m.Request.Claim, maxText))
	case kindAnswer:
		if m.Answer == nil {
			return errors.New("message without its answer")
		}
		m.Reports, m.Request = nil, nil
		if len(m.Answer.Why) > maxWhy {
			return fmt.Errorf("reason of %d bytes; at most %d", len(m.Answer.Why), maxWhy)
		}
		return errors.Join(checkText("answering member", m.Answer.From, maxName),
			checkText("asking member", m.Answer.To, maxName),
			checkText("claim", m.Answer.Claim, maxText))
	}
	return nil
}

// checkReport holds one report to the bounds.
func checkReport(r arbiter.Report) error {
	if err := checkText("member", r.Node, maxName); err != nil {
		return err
	}
	if len(r.Claims) > maxClaims {
		return fmt.Errorf("report of %s has %d claims; at most %d", r.Node, len(r.Claims), maxClaims)
	}
	for _, c := range r.Claims {
		if err := checkText("claim", c.Claim, maxText); err != nil {
			return fmt.Errorf("report of %s: %w", r.Node, err)
		}
		for _, s := range []string{c.State, c.Address} {
			if len(s) > maxText || !utf8.ValidString(s) {
				return fmt.Errorf("report of %s: state or address %.64q of claim %s is too long or not UTF-8", r.Node, s, c.Claim)
			}
		}
	}
	return nil
}

// checkText holds a name to 1 to limit bytes of UTF-8; JSON would change any other
// bytes on the way, and then it would be another name.
func checkText(what, s string, limit int) error {
	switch {
	case s == "":
		return fmt.Errorf("%s without a name", what)
	case len(s) > limit:
		return fmt.Errorf("name of %s of %d bytes; at most %d", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Errorf("name %q of %s is not UTF-8", s, what)
	}
	return nil
}

// cutText shortens s to at most limit bytes without splitting a character, and
// replaces what is none.
func cutText(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// outgoing is a message of kindReports whose reports are encoded already: the
// same ones go to every peer.
type outgoing struct {
	From    string            `json:"from"`
	Yours   *stamp            `json:"yours,omitempty"`
	Reports []json.RawMessage `json:"reports,omitempty"`
}

// encodeReports encodes each report by itself, for packReports.
func encodeReports(reports []arbiter.Report) []json.RawMessage {
	encoded := make([]json.RawMessage, len(reports))
	for i, r := range reports {
		encoded[i] = appendJSON(kindReports, r)[1:]
	}
	return encoded
}

// packReports puts encoded reports into as few messages as hold them: packets of at
// most maxPacket bytes for UDP, and streams, for TCP, with the reports that are too
// long for that.
func packReports(from string, yours *stamp, reports []json.RawMessage) (packets, streams [][]byte) {
	empty := len(appendJSON(kindReports, outgoing{From: from, Yours: yours})) + len(`,"reports":[]`)
	var small, big []json.RawMessage
	for _, r := range reports {
		if empty+len(r)+1 <= maxPacket {
			small = append(small, r)
		} else {
			big = append(big, r)
		}
	}
	packets = pack(outgoing{From: from, Yours: yours}, small, maxPacket-empty)
	streams = pack(outgoing{From: from, Yours: yours}, big, maxMessage-empty)
	return packets, streams
}

// pack fills messages like out with reports, room bytes of them in each.
func pack(out outgoing, reports []json.RawMessage, room int) (messages [][]byte) {
	flush := func() {
		if len(out.Reports) > 0 {
			messages = append(messages, appendJSON(kindReports, out))
		}
		out.Reports = nil
	}
	used := 0
	for _, r := range reports {
		if used+len(r)+1 > room || len(out.Reports) == maxMembers {
			flush()
			used = 0
		}
		out.Reports = append(out.Reports, r)
		used += len(r) + 1 // its comma
	}
	flush()
	return messages
}
