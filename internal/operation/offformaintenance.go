package operation

import (
	"context"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/session"
)

// leftForMaintenance is what a command over all machines says of a machine that is off
// for its maintenance.
const leftForMaintenance = "in maintenance and unreachable; left as it is"

// OffForMaintenance are the machines that are unreachable because they are in
// maintenance. A command over all machines leaves them as they are. If the record of
// the control plane cannot be read, no machine is.
func OffForMaintenance(ctx context.Context, s *session.Session) (map[string]bool, error) {
	off := map[string]bool{}
	records, err := s.Records()
	if err != nil {
		return off, nil
	}
	maintained, err := cluster.Maintained(ctx, records)
	if err != nil {
		return nil, err
	}
	for name := range maintained {
		off[name] = s.Hosts[name] == nil
	}
	return off, nil
}
