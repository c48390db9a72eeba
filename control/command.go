package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"github.com/solovip/solovip/lvs"
)

// maxCommandBytes is far more than any command has.
const maxCommandBytes = 4 << 10

// HandoverRequest is the body of POST /v1/handover.
type HandoverRequest struct {
	Claim string `json:"claim"`
	To    string `json:"to"` // a node; empty: the best one
}

// StandbyRequest is the body of POST /v1/standby.
type StandbyRequest struct {
	On bool `json:"on"`
}

// FenceRequest is the body of POST /v1/fence and /v1/fence/clear.
type FenceRequest struct {
	Claim string `json:"claim"` // for clear, empty: all
}

// OperateRequest is the body of POST /v1/lvs/operate: what an operator says of a real server.
type OperateRequest struct {
	Server string         `json:"server"` // a virtual server by its name; empty: all that have it
	Real   netip.AddrPort `json:"real"`   // port 0: with any port
	lvs.Override
}

// agreement is the body of the answer to a command that is carried out.
type agreement struct {
	Text string `json:"text"`
}

// command reads a command, has it carried out within answerWithin, and answers.
func command[C any](w http.ResponseWriter, r *http.Request, do func(context.Context, C) (string, error)) {
	var c C
	if err := readCommand(r.Body, &c); err != nil {
		refuse(w, http.StatusBadRequest, "read command: "+err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	text, err := do(ctx, c)
	switch {
	case err == nil:
		reply(w, http.StatusOK, agreement{Text: text})
	case ctx.Err() != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		refuse(w, http.StatusConflict, err.Error())
	}
}

// readCommand accepts one object and no field that it does not know: half of a command
// must not be carried out as another one.
func readCommand(r io.Reader, c any) error {
	d := json.NewDecoder(io.LimitReader(r, maxCommandBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one object, or too long")
	}
	return nil
}

// Handover asks the daemon to give a claim to another node, or to the best one if to is
// empty. It returns what happens now: Watch shows when it has happened. An error that
// does not wrap ErrUnreachable is the node's refusal.
func (c *Client) Handover(ctx context.Context, claim, to string) (string, error) {
	return c.command(ctx, "/v1/handover", HandoverRequest{Claim: claim, To: to})
}

// TrustWitness tells the daemon that no node which is not heard holds anything, so that the
// witness counts as it is now. It returns what that changes.
func (c *Client) TrustWitness(ctx context.Context) (string, error) {
	return c.command(ctx, "/v1/trust-witness", struct{}{})
}

// Standby asks the daemon to give away what it holds and take nothing, or to end that.
// It returns what happens now.
func (c *Client) Standby(ctx context.Context, on bool) (string, error) {
	return c.command(ctx, "/v1/standby", StandbyRequest{On: on})
}

// Fence asks the daemon to let go of a claim by force and to stay out of it. It returns what
// happens now.
func (c *Client) Fence(ctx context.Context, claim string) (string, error) {
	return c.command(ctx, "/v1/fence", FenceRequest{Claim: claim})
}

// ClearFence asks the daemon to take part again in a claim that it was fenced from, or, with
// an empty one, in all. It returns what happens now.
func (c *Client) ClearFence(ctx context.Context, claim string) (string, error) {
	return c.command(ctx, "/v1/fence/clear", FenceRequest{Claim: claim})
}

// Operate tells the daemon what an operator says of a real server. It returns what that does.
func (c *Client) Operate(ctx context.Context, said OperateRequest) (string, error) {
	return c.command(ctx, "/v1/lvs/operate", said)
}

func (c *Client) command(ctx context.Context, path string, body any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, silentWithin)
	defer cancel()
	answer, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return "", err
	}
	defer answer.Close()
	var agreed agreement
	if err := json.NewDecoder(io.LimitReader(answer, maxCommandBytes)).Decode(&agreed); err != nil {
		return "", fmt.Errorf("read the daemon's answer: %w", err)
	}
	return agreed.Text, nil
}
