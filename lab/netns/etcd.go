package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/solovip/solovip/lab/scenario"
)

// peerPort is where the members of an etcd talk to each other.
const peerPort = 2380

// EtcdPath returns where the distribution's etcd is.
func EtcdPath() (string, error) {
	path, err := exec.LookPath("etcd")
	if err != nil {
		return "", fmt.Errorf("find etcd: %w (install the package etcd-server, or leave this scenario out)", err)
	}
	return path, nil
}

// member returns how the host's member of the etcd is started.
func (s *setup) member(h *host) []string {
	var cluster []string
	for _, m := range s.job.Scenario.Named(scenario.Etcd) {
		cluster = append(cluster, fmt.Sprintf("%s=http://%v:%d", m.Name, m.Addr, peerPort))
	}
	client, peer := fmt.Sprintf("http://%v:%d", h.Addr, witnessPort), fmt.Sprintf("http://%v:%d", h.Addr, peerPort)
	return []string{
		s.etcd, "--name", h.Name, "--data-dir", h.stateDir(), "--logger", "zap",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "new",
	}
}

// leading is how long the members of an etcd may take to make one of them their leader.
const leading = 10 * time.Second

// etcdStatus is what a member says of itself and of its leader; numbers are texts there.
type etcdStatus struct {
	Header struct {
		Member string `json:"member_id"`
	} `json:"header"`
	Leader string `json:"leader"`
}

// lead makes the host's member the leader of the etcd and returns when it is.
func (p *player) lead(ctx context.Context, h *host) error {
	ctx, cancel := context.WithTimeout(ctx, leading)
	defer cancel()
	for {
		leader, wanted, err := p.leader(ctx, h)
		switch {
		case err == nil && leader == h:
			return nil
		case err == nil:
			err = leader.etcd(ctx, "transfer-leadership", map[string]string{"targetID": wanted}, &struct{}{})
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("make %s the leader: %w (the last try: %w)", h.Name, ctx.Err(), err)
		case <-time.After(leading / 100): // an election under way has no event for us
		}
	}
}

// leader returns which host leads the etcd as h's member sees it, and that member's number.
func (p *player) leader(ctx context.Context, h *host) (leader *host, member string, err error) {
	var own etcdStatus
	if err := h.etcd(ctx, "status", struct{}{}, &own); err != nil {
		return nil, "", err
	}
	for _, m := range p.job.Scenario.Named(scenario.Etcd) {
		other := p.net.hosts[m.Name]
		var status etcdStatus
		// One that cannot be asked does not lead.
		if err := other.etcd(ctx, "status", struct{}{}, &status); err == nil && status.Header.Member == own.Leader {
			return other, own.Header.Member, nil
		}
	}
	return nil, "", fmt.Errorf("no member is the leader that %s follows (%q)", h.Name, own.Leader)
}

// etcd asks the host's own member for maintenance, by JSON over HTTP.
func (h *host) etcd(ctx context.Context, what string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leading/10)
	defer cancel()
	url := fmt.Sprintf("http://%v:%d/v3/maintenance/%s", h.Addr, witnessPort, what)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.dial}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the etcd of %s for its %s: %w", h.Name, what, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the etcd of %s for its %s: %s", h.Name, what, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// dial connects from inside the host.
func (h *host) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.inside(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}
