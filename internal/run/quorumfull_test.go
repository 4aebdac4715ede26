package run

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
)

// fullDisk is a machine with free space for the small files of the lock alone.
type fullDisk struct{ Store }

func (d fullDisk) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if path == layout.ClusterRecordFile {
		return errors.New("no space left on device")
	}
	return d.Store.WriteFile(ctx, path, data, mode)
}

// A write counts if a majority has it. If the disks of two of three are full, it fails, although
// both take the lock and the views.
func TestQuorumWriteNeedsAMajorityThatHasIt(t *testing.T) {
	t.Parallel()
	for full := range 3 {
		electors := threeMachines(t)
		for i := range full {
			electors[2-i].Store = fullDisk{electors[2-i].Store}
		}
		q := NewQuorum(electors, QuorumOptions{})
		l := acquire(t, q, me(t), LockOptions{})
		err := q.WriteFile(t.Context(), layout.ClusterRecordFile, []byte("{}"), 0o644)
		switch {
		case full < 2 && err != nil:
			t.Errorf("%d full disks: %v", full, err)
		case full == 2 && (err == nil || !strings.Contains(err.Error(), "no space left on device")):
			t.Errorf("two full disks: got %v, want that the write fails, and why", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Errorf("%d full disks: release the lock: %v", full, err)
		}
	}
}
