package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/node"
)

const (
	// maxConns is how many clients are served at once; more wait to be accepted.
	maxConns = 32
	// maxWatchers leaves connections to those who ask once; more are refused.
	maxWatchers = 16
	// maxHeaderBytes is far more than any request of ours has.
	maxHeaderBytes = 8 << 10
	// requestWithin is how long a client may take to send its request.
	requestWithin = 2 * time.Second
	// answerWithin is how long the daemon's loop is waited for.
	answerWithin = 2 * time.Second
	// writeWithin is how long a client may take to read one answer, or one line of a watch.
	writeWithin = 5 * time.Second
	// closeWithin is how long answers under way may take once the daemon stops.
	closeWithin = time.Second
)

// Server answers requests about one daemon: about a node with Snapshot and the commands that
// follow it, about the virtual servers of a node with LVS and Operate.
type Server struct {
	// Snapshot returns how the daemon stands. It is called from several goroutines,
	// but never twice at once; while it blocks, requests are answered with 503. nil: nobody
	// may ask.
	Snapshot func() node.Snapshot
	// Handover gives a claim that this node holds to another node, or to the best one if
	// to is empty. It returns what happens now; an error says why it is refused. nil: the
	// daemon takes no such command.
	Handover func(ctx context.Context, claim, to string) (string, error)
	// Standby makes the node give away what it holds and take nothing, or ends that. nil:
	// the daemon takes no such command.
	Standby func(ctx context.Context, on bool) (string, error)
	// TrustWitness takes the witness as it is now. nil: the daemon takes no such command.
	TrustWitness func(ctx context.Context) (string, error)
	// Fence lets go of a claim by force and keeps the node out of it. nil: the daemon takes no
	// such command.
	Fence func(ctx context.Context, claim string) (string, error)
	// ClearFence ends that, and what other fencings have brought: for a claim, or for all if
	// claim is empty. nil: the daemon takes no such command.
	ClearFence func(ctx context.Context, claim string) (string, error)
	// LVS returns how virtual servers stand; as Snapshot.
	LVS func() lvs.Snapshot
	// Operate takes an operator's word about a real server. nil: the daemon takes no such
	// command.
	Operate func(ctx context.Context, said OperateRequest) (string, error)
	// Logger gets what goes wrong with single clients, at the debug level; nil: nobody does.
	Logger *slog.Logger
}

// Serve answers on l until ctx ends; then it closes l and returns nil. Answers under way
// get closeWithin to end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	log := s.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	srv := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: requestWithin,
		ReadTimeout:       requestWithin,
		IdleTimeout:       requestWithin,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- shut(ctx, srv) })
	err := srv.Serve(netutil.LimitListener(l, maxConns))
	if stop() { // ctx has not ended: the listener is broken
		return errors.Join(fmt.Errorf("serve control requests: %w", err), srv.Close())
	}
	if err := <-closed; err != nil {
		return fmt.Errorf("close control socket: %w", err)
	}
	return nil
}

// shut ends what is under way: in order within closeWithin, then by force.
func shut(ctx context.Context, srv *http.Server) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	if srv.Shutdown(within) == nil {
		return nil
	}
	return srv.Close()
}

// handler has one route for each request there is; everything else is 404 or 405.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	if s.Snapshot != nil {
		serveSnapshots(mux, &asker[node.Snapshot]{snapshot: s.Snapshot})
	}
	if s.LVS != nil {
		a := &asker[lvs.Snapshot]{snapshot: s.LVS}
		mux.HandleFunc("GET /v1/lvs", func(w http.ResponseWriter, r *http.Request) { answer(w, r, a) })
	}
	if s.Operate != nil {
		mux.HandleFunc("POST /v1/lvs/operate", func(w http.ResponseWriter, r *http.Request) { command(w, r, s.Operate) })
	}
	s.serveCommands(mux)
	return mux
}

// serveSnapshots adds the routes of a node's snapshots.
func serveSnapshots(mux *http.ServeMux, a *asker[node.Snapshot]) {
	watchers := make(chan struct{}, maxWatchers)
	mux.HandleFunc("GET /v1/snapshot", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("watch") {
		case "", "0":
			answer(w, r, a)
		case "1":
			select {
			case watchers <- struct{}{}:
				defer func() { <-watchers }()
				watch(w, r, a)
			default:
				refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d clients watch already: end one of them", maxWatchers))
			}
		default:
			refuse(w, http.StatusBadRequest, "watch must be 0 or 1")
		}
	})
	mux.HandleFunc("GET /v1/healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.ask(r.Context()); err != nil {
			refuse(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
}

// serveCommands adds the routes of the commands that a node takes.
func (s *Server) serveCommands(mux *http.ServeMux) {
	if s.Handover != nil {
		mux.HandleFunc("POST /v1/handover", func(w http.ResponseWriter, r *http.Request) {
			command(w, r, func(ctx context.Context, c HandoverRequest) (string, error) {
				return s.Handover(ctx, c.Claim, c.To)
			})
		})
	}
	if s.Standby != nil {
		mux.HandleFunc("POST /v1/standby", func(w http.ResponseWriter, r *http.Request) {
			command(w, r, func(ctx context.Context, c StandbyRequest) (string, error) {
				return s.Standby(ctx, c.On)
			})
		})
	}
	if s.TrustWitness != nil {
		mux.HandleFunc("POST /v1/trust-witness", func(w http.ResponseWriter, r *http.Request) {
			command(w, r, func(ctx context.Context, _ struct{}) (string, error) { return s.TrustWitness(ctx) })
		})
	}
	for path, do := range map[string]func(context.Context, string) (string, error){"/v1/fence": s.Fence, "/v1/fence/clear": s.ClearFence} {
		if do != nil {
			mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
				command(w, r, func(ctx context.Context, c FenceRequest) (string, error) { return do(ctx, c.Claim) })
			})
		}
	}
}

func answer[S any](w http.ResponseWriter, r *http.Request, a *asker[S]) {
	snap, err := a.ask(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	reply(w, http.StatusOK, snap)
}

// refusal is the body of every answer that is not a success.
type refusal struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, text string) {
	reply(w, status, refusal{Error: text})
}

// reply encodes first and writes then, so that what cannot be encoded is not half sent.
func reply(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(v); err != nil {
		panic("control: encode answer: " + err.Error()) // our own types always encode
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that does not read is its own problem: the write ends at its deadline.
	_ = write(w, body.Bytes())
}

// write sends and flushes within writeWithin.
func write(w http.ResponseWriter, b []byte) error {
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return rc.Flush()
}
