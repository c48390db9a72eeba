package server

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// freeSpace ends the alarm that a full database leaves, which outlives a restart and
// turns every write away: it drops what is outdated and gives the space back. So restarting the
// witness is all that an operator has to know. If it is still full, the
// alarm comes again with the next write.
func (s *Server) freeSpace(ctx context.Context, e *embed.Etcd) error {
	c := v3client.New(e.Server)
	defer func() { _ = c.Close() }()
	alarms, err := c.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("ask the witness for alarms: %w", err)
	}
	for _, a := range alarms.Alarms {
		if a.Alarm != pb.AlarmType_NOSPACE {
			continue
		}
		if _, err := c.Compact(ctx, alarms.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
			s.log.WarnContext(ctx, "witness database was full: compacting it did not work", "err", err)
		}
		if err := e.Server.Backend().Defrag(); err != nil {
			return fmt.Errorf("defragment the witness's full database in %s: %w", s.cfg.DataDir, err)
		}
		if _, err := c.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			return fmt.Errorf("end the witness's alarm that its database is full: %w", err)
		}
		s.log.WarnContext(ctx, "witness database was full: compacted, defragmented and open again; "+
			"find out who else writes there", "quota_bytes", s.cfg.QuotaBytes, "size_bytes", e.Server.Backend().Size())
	}
	return nil
}
