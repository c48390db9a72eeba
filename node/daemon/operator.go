package daemon

import (
	"context"
	"fmt"

	"github.com/solovip/solovip/node"
)

// response is what the node says to an operator's command.
type response struct {
	text string
	err  error
}

// handover gives a claim that this node holds to another one, or says why not.
func (d *daemon) handover(ctx context.Context, claim, to string) (string, error) {
	return d.command(ctx, func(id uint64) node.Event { return node.Handover{ID: id, Claim: claim, To: to} })
}

// standby turns standby on or off.
func (d *daemon) standby(ctx context.Context, on bool) (string, error) {
	return d.command(ctx, func(id uint64) node.Event { return node.Standby{ID: id, On: on} })
}

// trustWitness makes the witness count as it is now.
func (d *daemon) trustWitness(ctx context.Context) (string, error) {
	return d.command(ctx, func(id uint64) node.Event { return node.TrustWitness{ID: id} })
}

// command brings an operator's command to the loop and waits for the node's answer.
func (d *daemon) command(ctx context.Context, event func(id uint64) node.Event) (string, error) {
	reply := make(chan response, 1)
	d.commands.mu.Lock()
	d.commands.last++
	id := d.commands.last
	d.commands.waiting[id] = reply
	d.commands.mu.Unlock()
	defer func() {
		d.commands.mu.Lock()
		delete(d.commands.waiting, id)
		d.commands.mu.Unlock()
	}()
	select {
	case d.events <- event(id):
	case <-ctx.Done():
		return "", fmt.Errorf("the node's loop takes no command: %w", ctx.Err())
	}
	select {
	case r := <-reply:
		return r.text, r.err
	case <-ctx.Done():
		return "", fmt.Errorf("the node's loop does not answer: %w", ctx.Err())
	case <-d.workCtx.Done():
		return "", fmt.Errorf("the node has stopped: %w", d.workCtx.Err())
	}
}

// respond hands the node's answer to whoever waits for it.
func (d *daemon) respond(a node.Respond) {
	d.commands.mu.Lock()
	defer d.commands.mu.Unlock()
	if reply := d.commands.waiting[a.ID]; reply != nil {
		reply <- response{a.Text, a.Err} // one place is free: each command has one answer
	}
}
