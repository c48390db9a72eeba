package daemon

import (
	"context"
	"path/filepath"
	"time"

	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/fencing/ledger"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/node"
)

// ledgerLane is where fencings are written, one after the other and beside the loop: a disk
// that hangs must not keep a node from letting go.
const ledgerLane = "ledger"

// ledgerRetry is how long a ledger that cannot be written is left alone.
const ledgerRetry = 10 * time.Second

// LedgerDir returns where a daemon with the state directory keeps its fencings.
func LedgerDir(stateDir string) string { return filepath.Join(stateDir, "ledger") }

// openLedger reads the ledger and returns the fencings that are still open. What cannot be
// read is told and left out: a node must start from any disk.
func (d *daemon) openLedger() []fencing.Record {
	boot, err := boottime.ID()
	if err != nil {
		d.log.Error("fencings of former starts count as of another boot: which boot this is cannot be read", "err", err)
	}
	d.boot = boot
	dir := LedgerDir(d.opt.StateDir)
	history, err := ledger.Read(dir)
	if err != nil {
		d.log.Error("the ledger of fencings cannot be read: whether this node was fenced is not known", "err", err)
		history = &ledger.History{}
	}
	for _, damage := range history.Damaged {
		d.log.Warn("the ledger of fencings has a damaged line", "at", damage.String())
	}
	d.ledger = ledger.New(ledger.Config{Dir: dir}, history)
	open := history.Open()
	var records []fencing.Record
	for _, claim := range sortedKeys(open) {
		r := open[claim]
		if r.Boot == d.boot && d.boot != "" {
			r.Began = boottime.At(time.Duration(r.BootMS) * time.Millisecond)
		}
		records = append(records, r)
	}
	return records
}

// writeFencing puts a record into the ledger, beside the loop.
func (d *daemon) writeFencing(a node.WriteFencing) {
	r := a.Record
	if r.Boot == "" { // it began in this run
		r.Time, r.Boot, r.BootMS = boottime.Wall(r.Began), d.boot, r.Began.UnixMilli()
	}
	ok := d.lanes.Run(ledgerLane, func(context.Context) { d.ledgerWritten(d.ledger.Append(r)) })
	if !ok {
		d.log.Error("a fencing is not written down: the disk is too slow", "claim", r.Claim, "cause", r.Cause, "why", r.Why, "result", r.Result)
	}
}

// ledgerWritten tells the node how a try has gone, and tries again later if it has failed.
func (d *daemon) ledgerWritten(err error) {
	d.post(node.FencingWritten{Err: err})
	if err == nil || !d.unwritten.CompareAndSwap(false, true) {
		return
	}
	d.log.Error("fencings cannot be written down; it is tried again", "err", err)
	d.work.Go(func() error {
		for pause(d.workCtx, ledgerRetry) {
			if err := d.ledger.Retry(); err == nil {
				d.unwritten.Store(false)
				d.log.Info("fencings are written down again")
				d.post(node.FencingWritten{})
				break
			}
		}
		return nil
	})
}

// fence has the node let go of a claim by force and stay out of it.
func (d *daemon) fence(ctx context.Context, claim string) (string, error) {
	return d.command(ctx, func(id uint64) node.Event { return node.FenceNow{ID: id, Claim: claim} })
}

// clearFence has the node take part again in a claim, or in all.
func (d *daemon) clearFence(ctx context.Context, claim string) (string, error) {
	return d.command(ctx, func(id uint64) node.Event { return node.ClearFence{ID: id, Claim: claim} })
}
