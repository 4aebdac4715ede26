package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Recorded is what the record on a control-plane machine says: which cluster
// this is, and which Kubernetes and services it was brought to last. All are
// empty before the first boot and after a clean with the data.
func Recorded(ctx context.Context, host machine.Host) (clusterID string, pair pai.Pair, err error) {
	data, err := host.ReadFile(ctx, layout.ClusterRecordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", pai.Pair{}, nil
	}
	if err != nil {
		return "", pai.Pair{}, fmt.Errorf("read what %s records of the cluster: %w", host.Name(), err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return "", pai.Pair{}, fmt.Errorf("read what %s records of the cluster (%s): %w", host.Name(), layout.ClusterRecordFile, err)
	}
	return r.ClusterID, pai.Pair{Services: r.Services, Kubernetes: r.Kubernetes}, nil
}
