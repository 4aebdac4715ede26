package operation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

const (
	// windowLength is how long alerts that an operation causes by itself are held back
	// after its last step began, if nothing ends the window: it is longer than a step has.
	windowLength = 20 * time.Minute
	// windowEvery is how often the window is moved at most.
	windowEvery = time.Minute
	// windowTimeout bounds one write.
	windowTimeout = 10 * time.Second
)

// alertWindow keeps a metric on the control-plane machine that says until when an operation
// changes something. Prometheus turns it into the alert OperationRuns, and Alertmanager holds
// back the alerts of services/alertmanager/chart/held-back.yaml meanwhile. An operation that
// only waits moves nothing, so its window ends by itself, and that of a killed paictl, too.
// Nothing waits for the window, and its errors are only logged.
type alertWindow struct {
	id     string // of the operation
	write  func(ctx context.Context, content string) error
	remove func(ctx context.Context) error
	logf   func(format string, args ...any)
	now    func() time.Time

	moves chan struct{} // one is enough: the end counts from when it is taken
	ended chan struct{}
	done  chan struct{}
	once  sync.Once
}

// openWindow returns the window of an execution; nil if alerts have no receiver.
func (x *execution) openWindow(ctx context.Context) *alertWindow {
	if !x.Config.Services.AlertManager.On() {
		return nil
	}
	host, err := x.ControlPlane()
	if err != nil {
		x.log.Info("alerts that the operation causes are not held back", "error", err.Error())
		return nil
	}
	w := &alertWindow{
		id: x.entry.Operation().ID,
		write: func(ctx context.Context, content string) error {
			return host.WriteFile(ctx, layout.OperationMetricsFile, []byte(content), 0o644)
		},
		remove: func(ctx context.Context) error { return host.Remove(ctx, layout.OperationMetricsFile) },
		logf:   func(format string, args ...any) { x.log.Info(fmt.Sprintf(format, args...)) },
		now:    time.Now,
	}
	w.start(ctx, windowEvery)
	return w
}

func (w *alertWindow) start(ctx context.Context, every time.Duration) {
	w.moves, w.ended, w.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	ctx = context.WithoutCancel(ctx) // the window of an interrupted operation is closed, too
	go func() {
		defer close(w.done)
		written := false
		for {
			select {
			case <-w.moves:
				written = true
				w.move(ctx)
			case <-w.ended:
				if written {
					w.try(ctx, "close", w.remove)
				}
				return
			}
			pause := time.NewTimer(every)
			select {
			case <-pause.C:
			case <-w.ended:
				pause.Stop()
			}
		}
	}()
}

// changes is called when a step begins. Copying programs and images changes nothing that
// runs, and can take an hour.
func (w *alertWindow) changes(s plan.Step) {
	if w == nil || s.Kind == plan.KindPrograms || s.Kind == plan.KindImages {
		return
	}
	select {
	case w.moves <- struct{}{}:
	default: // it is about to be moved
	}
}

// close ends the window.
func (w *alertWindow) close() {
	if w == nil {
		return
	}
	w.once.Do(func() { close(w.ended) })
	<-w.done
}

func (w *alertWindow) move(ctx context.Context) {
	w.try(ctx, "move", func(ctx context.Context) error {
		return w.write(ctx, windowMetric(w.id, w.now().Add(windowLength)))
	})
}

func (w *alertWindow) try(ctx context.Context, what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeoutCause(ctx, windowTimeout, fmt.Errorf("not done within %s", windowTimeout))
	defer cancel()
	if err := do(ctx); err != nil {
		w.logf("could not %s the window in which alerts are held back: %v", what, err)
	}
}

// windowMetric is the text format of Prometheus.
func windowMetric(id string, end time.Time) string {
	const name = "pai_operation_window_end_timestamp_seconds"
	return fmt.Sprintf("# HELP %s Until when alerts that an operation of PAI causes are held back.\n# TYPE %s gauge\n%s{operation=%q} %d\n", name, name, name, id, end.Unix())
}
