package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/internal/durable"
	"github.com/solovip/solovip/lvs"
)

// operation is an operator's word on its way to the loop.
type operation struct {
	said  control.OperateRequest
	reply chan response // has a free place
}

// response is what the balancer says to it.
type response struct {
	text string
	err  error
}

// operate brings an operator's word to the loop and waits for the answer.
func (d *daemon) operate(ctx context.Context, said control.OperateRequest) (string, error) {
	op := operation{said, make(chan response, 1)}
	select {
	case d.operations <- op:
	case <-ctx.Done():
		return "", fmt.Errorf("the loop takes no command: %w", ctx.Err())
	}
	select {
	case r := <-op.reply:
		return r.text, r.err
	case <-ctx.Done():
		return "", fmt.Errorf("there is no answer: %w", ctx.Err())
	case <-d.workCtx.Done():
		return "", errStopping
	}
}

// operation steps the balancer with an operator's word.
func (d *daemon) operation(op operation) {
	d.lastID++
	d.waiting[d.lastID] = op.reply
	d.step(lvs.Operate{ID: d.lastID, Server: op.said.Server, Real: op.said.Real, Override: op.said.Override})
}

// storeLane keeps answers to operators behind the writing that they are about.
const storeLane = "store"

// storeOverrides makes overrides durable beside the loop.
func (d *daemon) storeOverrides(all []lvs.StoredOverride) {
	const forgotten = "what operators say of real servers will be forgotten at the next start: it cannot be stored"
	if !d.lanes.Run(storeLane, func(context.Context) {
		if err := writeOverrides(d.opt.StateDir, all); err != nil {
			d.log.Error(forgotten, "err", err)
		}
	}) {
		d.log.Error(forgotten, "err", errDiskHangs)
	}
}

// respond hands the balancer's answer to whoever waits for it, once what it says is stored.
func (d *daemon) respond(a lvs.Respond) {
	reply := d.waiting[a.ID]
	delete(d.waiting, a.ID)
	r := response{text: a.Text}
	if a.Err != "" {
		r.err = errors.New(a.Err)
	}
	if !d.lanes.Run(storeLane, func(context.Context) { reply <- r }) {
		reply <- r
	}
}

// overridesFile is where overrides are kept, in the state directory.
func overridesFile(dir string) string { return filepath.Join(dir, "overrides.json") }

func writeOverrides(dir string, all []lvs.StoredOverride) error {
	if all == nil {
		all = []lvs.StoredOverride{}
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err == nil {
		err = durable.WriteFile(overridesFile(dir), append(text, '\n'), 0o640)
	}
	return err
}

// readOverrides returns what operators have said in former runs.
func readOverrides(dir string) ([]lvs.StoredOverride, error) {
	text, err := os.ReadFile(overridesFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what operators have said of real servers: %w", err)
	}
	var all []lvs.StoredOverride
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s does not parse: %w: say it anew with `solovip lvs`", overridesFile(dir), err)
	}
	return all, nil
}
