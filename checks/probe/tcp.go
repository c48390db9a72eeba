package probe

import (
	"context"

	"github.com/solovip/solovip/config"
)

// tcpProber makes TCP_CHECK: a connection can be made.
type tcpProber struct{ c config.Checker }

func (p tcpProber) Probe(ctx context.Context) Outcome {
	conn, err := dial(ctx, p.c, "tcp")
	if err != nil {
		return failed(err)
	}
	_ = conn.Close() // nothing was sent that could be lost
	return Outcome{OK: true}
}
