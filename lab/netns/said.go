package netns

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Said is what a node's daemon said of itself: a report shows it beside what was seen, and
// nothing is judged by it. It holds until the daemon says something else.
type Said struct {
	Node       string        `json:"node"`
	At         time.Duration `json:"at_ns"`
	Instance   string        `json:"instance,omitempty"`     // empty: this is about all
	State      string        `json:"state"`                  // of VRRP: MASTER, BACKUP, FAULT, INIT; empty: it says nothing any more
	Permission string        `json:"permission,omitempty"`   // by what it may hold, as solovip calls it
	Remaining  time.Duration `json:"remaining_ns,omitempty"` // for how long it may, if it said nothing more
}

// says keeps what a daemon said.
func (o *observer) says(s Said) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.At = o.now()
	o.said = append(o.said, s)
}

// hearsay returns all that was said, in order.
func (o *observer) hearsay() []Said {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said
}

// retryHearing is how long after a failure a daemon is asked again.
const retryHearing = 50 * time.Millisecond

// hear listens until ctx is done to how the host's solovip says that it stands.
func (o *observer) hear(ctx context.Context, h *host) {
	for ctx.Err() == nil {
		if o.hearOnce(ctx, h) {
			o.says(Said{Node: h.Name}) // it has fallen silent
		}
		last(ctx, retryHearing)
	}
}

// hearOnce listens as long as the daemon lives, and reports whether it said anything.
func (o *observer) hearOnce(ctx context.Context, h *host) (said bool) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.runDir(), "control.sock"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/v1/snapshot?watch=1", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false // it does not run, or stands still
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	const longest = 1 << 20
	lines.Buffer(nil, longest)
	for lines.Scan() {
		var snapshot struct {
			Claims []struct {
				Permission  string `json:"permission"`
				RemainingMS int64  `json:"remaining_ms"`
				Instances   []struct {
					Name  string `json:"name"`
					State string `json:"state"`
				} `json:"instances"`
			} `json:"claims"`
		}
		if json.Unmarshal(lines.Bytes(), &snapshot) != nil {
			continue
		}
		for _, c := range snapshot.Claims {
			for _, i := range c.Instances {
				said = true
				o.says(Said{
					Node: h.Name, Instance: i.Name, State: i.State, Permission: c.Permission,
					Remaining: max(0, time.Duration(c.RemainingMS)*time.Millisecond),
				})
			}
		}
	}
	return said
}

// vrrpStates are those that keepalived tells of.
var vrrpStates = []string{"MASTER", "BACKUP", "FAULT", "STOP", "DELETED"} //nolint:gochecknoglobals // a table

// state reads what keepalived tells by its FIFO: INSTANCE "VI_1" MASTER 150. It returns
// nothing for a line about something else, nor for what else an instance tells: a master that
// hears an advert of a lower priority says MASTER_RX_LOWER_PRI, and is master.
func state(line string) (instance, state string) {
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "INSTANCE" || !slices.Contains(vrrpStates, words[2]) {
		return "", ""
	}
	return strings.Trim(words[1], `"`), words[2]
}
