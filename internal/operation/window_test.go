package operation

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/plan"
)

// windowFile is the file of a window, in memory.
type windowFile struct {
	mu      sync.Mutex
	content string
	writes  int
	fails   error
	wrote   chan struct{}
	logged  int
}

func (f *windowFile) window(every time.Duration) *alertWindow {
	f.wrote = make(chan struct{}, 10)
	w := &alertWindow{id: "op-1", now: func() time.Time { return time.Unix(1000, 0) },
		write: func(_ context.Context, content string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.writes++
			if f.fails == nil {
				f.content = content
			}
			f.wrote <- struct{}{}
			return f.fails
		},
		remove: func(ctx context.Context) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.content = ""
			return ctx.Err()
		},
		logf: func(string, ...any) { f.logged++ }}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // that of an interrupted operation
	w.start(ctx, every)
	return w
}

// The window opens with a step that changes something, for a limited time, and closes with
// the operation, also if that was interrupted.
func TestWindowOfAnOperation(t *testing.T) {
	t.Parallel()
	f := &windowFile{}
	w := f.window(time.Hour)
	w.changes(plan.Step{Kind: plan.KindService})
	<-f.wrote
	w.changes(plan.Step{Kind: plan.KindRole}) // within the pause
	f.mu.Lock()
	if want := `pai_operation_window_end_timestamp_seconds{operation="op-1"} 2200` + "\n"; !strings.HasSuffix(f.content, want) || f.writes != 1 {
		t.Errorf("got %q after %d writes, want the end %q, 20 minutes later", f.content, f.writes, want)
	}
	f.mu.Unlock()
	w.close()
	w.close() // at the end of the execution as well
	if f.content != "" || f.logged != 0 {
		t.Errorf("got %q and %d messages after the end, want none", f.content, f.logged)
	}
}

// Steps that copy files, and an operation that waits, hold nothing back.
func TestWindowStaysClosed(t *testing.T) {
	t.Parallel()
	f := &windowFile{content: "of another operation"}
	w := f.window(time.Millisecond)
	w.changes(plan.Step{Kind: plan.KindPrograms})
	w.changes(plan.Step{Kind: plan.KindImages})
	w.close()
	if f.writes != 0 || f.content != "of another operation" {
		t.Errorf("got %d writes and %q, want none", f.writes, f.content)
	}
	var none *alertWindow // alerts have no receiver
	none.changes(plan.Step{Kind: plan.KindService})
	none.close()
}

// A machine that cannot be written to stops nothing.
func TestWindowThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	f := &windowFile{fails: errors.New("disk full")}
	w := f.window(time.Millisecond)
	w.changes(plan.Step{Kind: plan.KindService})
	<-f.wrote
	w.close()
	if f.logged == 0 {
		t.Error("nothing was logged")
	}
}
