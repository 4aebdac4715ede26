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

// Recorded reads the record on a control-plane machine: the cluster ID, and the
// Kubernetes and services that were deployed last. All are empty before the first
// boot and after a clean with --delete-data.
func Recorded(ctx context.Context, host machine.Host) (clusterID string, pair pai.Pair, err error) {
	data, err := host.ReadFile(ctx, layout.ClusterRecordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", pai.Pair{}, nil
	}
	if err != nil {
		return "", pai.Pair{}, fmt.Errorf("read the record of the cluster on %s: %w", host.Name(), err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return "", pai.Pair{}, fmt.Errorf("read the record of the cluster on %s (%s): %w", host.Name(), layout.ClusterRecordFile, err)
	}
	return r.ClusterID, pai.Pair{Services: r.Services, Kubernetes: r.Kubernetes}, nil
}
