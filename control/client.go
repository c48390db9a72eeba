package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/node"
)

const (
	// connectWithin is how long a daemon may take to accept: one that is stopped never does.
	connectWithin = 2 * time.Second
	// silentWithin is how long a daemon may be silent: longer than it waits for its own loop.
	silentWithin = answerWithin + 2*time.Second
	// maxSnapshotBytes bounds one snapshot: some 100,000 real servers.
	maxSnapshotBytes = 64 << 20
)

// ErrUnreachable says that no daemon answers: there is none, this user may not ask it,
// or it hangs. The error that wraps it says which, and what to do.
var ErrUnreachable = errors.New("daemon not reachable")

// unreachable is an ErrUnreachable with a text of its own.
type unreachable struct {
	text string
	err  error
}

func (e *unreachable) Error() string        { return e.text }
func (e *unreachable) Unwrap() error        { return e.err }
func (e *unreachable) Is(target error) bool { return target == ErrUnreachable }

// Client asks one daemon. It is safe for concurrent use.
type Client struct {
	runDir string
	who    string // it asks
	absent string // what to do when there is none
	http   *http.Client
}

// Dial finds the daemon that runs with the run directory. Its error is meant for an
// operator and wraps ErrUnreachable.
func Dial(runDir string) (*Client, error) {
	return find(runDir, "solovip", "start it with 'systemctl start solovip' or 'solovip node', or name another directory with --run-dir")
}

// LVSDir returns the directory of the socket that tells of the virtual servers of a node with
// that run directory: a worker of its own listens there.
func LVSDir(runDir string) string { return filepath.Join(runDir, "lvs") }

// DialLVS finds the worker for virtual servers of the node with the run directory. Its error
// is meant for an operator and wraps ErrUnreachable, and fs.ErrNotExist when the node has no
// virtual servers or does not run.
func DialLVS(runDir string) (*Client, error) {
	return find(LVSDir(runDir), "worker for virtual servers", "it runs beside a node that has a virtual_server in its configuration; "+
		"'solovip status' asks the node itself")
}

func find(runDir, who, absent string) (*Client, error) {
	c := &Client{runDir: runDir, who: who, absent: absent}
	// One connection for each request: requests are rare, and a daemon that has been
	// replaced meanwhile is found again.
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return connect(ctx, SocketPath(runDir))
		},
		DisableKeepAlives: true,
	}}
	conn, err := connect(context.Background(), SocketPath(runDir))
	if err != nil {
		return nil, c.explain(err)
	}
	_ = conn.Close() // it was only to see whether somebody is there
	return c, nil
}

// Snapshot returns how the daemon stands.
func (c *Client) Snapshot(ctx context.Context) (node.Snapshot, error) {
	return get[node.Snapshot](ctx, c, "/v1/snapshot")
}

// LVS returns how virtual servers stand, of a client that DialLVS has returned.
func (c *Client) LVS(ctx context.Context) (lvs.Snapshot, error) {
	return get[lvs.Snapshot](ctx, c, "/v1/lvs")
}

// get asks for one snapshot.
func get[S any](ctx context.Context, c *Client, path string) (S, error) {
	var none S
	ctx, cancel := context.WithTimeout(ctx, silentWithin)
	defer cancel()
	body, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return none, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxSnapshotBytes+1))
	if err != nil {
		return none, c.explain(err)
	}
	return decode[S](text)
}

// Watch calls fn with how the daemon stands: at once, on each change, and each second.
// It ends with the error of fn, with nil when ctx ends, or with an ErrUnreachable when
// the daemon does.
func (c *Client) Watch(ctx context.Context, fn func(node.Snapshot) error) error {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(silentWithin, cancel)
	defer silent.Stop()
	body, err := c.send(within, http.MethodGet, "/v1/snapshot?watch=1", nil)
	if err != nil {
		return ended(ctx, err)
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxSnapshotBytes)
	for lines.Scan() {
		silent.Reset(silentWithin)
		snap, err := decode[node.Snapshot](lines.Bytes())
		if err != nil {
			return err
		}
		if err := fn(snap); err != nil {
			return err
		}
		silent.Reset(silentWithin) // fn may take its time
	}
	err = lines.Err()
	if err == nil {
		err = io.EOF
	}
	return ended(ctx, c.explain(err))
}

// ended returns nil when the caller has ended the watch, else err.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of ctx is the end that was asked for
	}
	return err
}

// send sends a request, with a body unless it is nil, and returns the body of a success.
func (c *Client) send(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://solovip"+path, &sent)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var said refusal
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHeaderBytes))
	if err != nil || json.Unmarshal(text, &said) != nil || said.Error == "" {
		said.Error = resp.Status
	}
	if resp.StatusCode == http.StatusConflict {
		return nil, errors.New(said.Error) // the node's own word, about the claim
	}
	return nil, &unreachable{text: fmt.Sprintf("the solovip at %s cannot answer: %s", SocketPath(c.runDir), said.Error)}
}

// explain turns what went wrong into what the operator can do about it.
func (c *Client) explain(err error) error {
	path := SocketPath(c.runDir)
	var text string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = fmt.Sprintf("no %s runs with run directory %s (there is no socket %s): %s", c.who, c.runDir, path, c.absent)
	case errors.Is(err, unix.ECONNREFUSED):
		text = fmt.Sprintf("no %s runs with run directory %s (socket %s is of one that has died): %s", c.who, c.runDir, path, c.absent)
	case errors.Is(err, fs.ErrPermission):
		text = fmt.Sprintf("user %d may not use socket %s: run this command as root", os.Getuid(), path)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, unix.EAGAIN):
		text = fmt.Sprintf("the solovip at %s does not answer: it hangs or is stopped; look at its log with 'journalctl -u solovip'", path)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		text = fmt.Sprintf("the solovip at %s has ended or does not answer any more; look at its log with 'journalctl -u solovip'", path)
	default:
		text = fmt.Sprintf("ask the solovip at %s: %v", path, err)
	}
	return &unreachable{text: text, err: err}
}

// decode reads one snapshot and accepts fields that it does not know: the daemon may
// be newer than the client.
func decode[S any](text []byte) (S, error) {
	var snap S
	if len(text) > maxSnapshotBytes {
		return snap, fmt.Errorf("the daemon's snapshot has more than %d bytes", maxSnapshotBytes)
	}
	if err := json.Unmarshal(text, &snap); err != nil {
		var none S
		return none, fmt.Errorf("read the daemon's snapshot: %w; are daemon and command of the same version?", err)
	}
	return snap, nil
}
