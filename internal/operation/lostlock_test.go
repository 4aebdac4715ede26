package operation

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/sessiontest"
)

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// A step that runs when the lock is lost ends with its context, and no further
// step starts. The record stays as the next holder of the lock has written it.
func TestFlowStopsWhenTheLockIsLost(t *testing.T) {
	f := newFlow(t, "a", "b")
	f.Hosts["gpu-01"].(*sessiontest.Host).Answer = func(ctx context.Context, c machine.Command) (machine.Output, error) {
		if !strings.HasPrefix(c.Script, "# remove ") {
			return f.answer(ctx, c)
		}
		number, holder, err := run.Current(ctx, f.files)
		if err == nil {
			holder.Token = "of another process"
			err = f.files.CreateFile(ctx, run.LockFile(number+1), encode(t, holder), 0o600)
		}
		if resumed := f.operations(); err == nil && len(resumed) == 1 {
			resumed[0].By = "the next holder"
			err = f.files.WriteFile(ctx, run.Dir+"/operations/"+resumed[0].ID+".json", encode(t, resumed[0]), 0o600)
		}
		if err != nil {
			t.Error(err)
		}
		<-ctx.Done() // until the next heartbeat
		return machine.Output{}, context.Cause(ctx)
	}
	synctest.Test(t, func(t *testing.T) {
		op, err := Run(t.Context(), f.Session, &deletions{flow: f, volumes: []string{"a"}}, RunOptions{Observer: f})
		if pai.CodeOf(err) != pai.CodeLocked && !strings.Contains(err.Error(), "lock") {
			t.Errorf("got %v (%s), want a lost lock", err, pai.CodeOf(err))
		}
		if _, log, _ := strings.Cut(err.Error(), "\nlog: "); !isFile(log) {
			t.Errorf("got %v, want it to name the log", err)
		}
		if op.ID == "" || op.Outcome != pai.OutcomeRunning || !op.Ended.IsZero() || !f.exist["/var/lib/pai/a"] {
			t.Errorf("got operation %+v, directories %v, want it unfinished", op, f.exist)
		}
		if all := f.operations(); len(all) != 1 || all[0].By != "the next holder" || all[0].Outcome != pai.OutcomeRunning {
			t.Errorf("got journal %+v, want what the next holder wrote", all)
		}
	})
}
