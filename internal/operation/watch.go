package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// watch is the witness of one operation, if there is something to watch: before
// the first boot, and after a clean, there is no API and no job.
type watch struct {
	witness *witness.Witness
	hosts   map[string]machine.Host // connections of the witness
	started time.Time
	// unobserved is why a cluster that can have running jobs is not watched.
	unobserved string

	reach func(plan.Step) guard.Reach

	mu    sync.Mutex
	steps []witness.Step // in progress, oldest first
}

// startWatch starts the witness. The baseline is stored on the control-plane
// machine, so that a resumed operation is compared with what ran when it first
// started, also if it is resumed during an API outage.
//
// reach returns whose containers a step can end.
func startWatch(ctx context.Context, s *session.Session, world plan.World, operation string, store run.Store, resumed bool, reach func(plan.Step) guard.Reach) (*watch, error) {
	w := &watch{started: time.Now(), reach: reach}
	var baseline *witness.Baseline
	file := baselineFile(operation)
	if resumed {
		var err error
		if baseline, err = readBaseline(ctx, store, file); err != nil {
			return nil, err
		}
	}
	if !world.APIReachable && baseline == nil {
		if world.Current.Kubernetes != "" {
			w.unobserved = world.APIError
		}
		return w, nil
	}
	client, err := s.Kube(ctx)
	if err != nil && !world.APIReachable { // there is a baseline, but no API to watch
		w.unobserved = err.Error()
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	// The witness shares no connection with what it watches.
	w.hosts = s.Dial(ctx)
	w.witness, err = witness.Start(ctx, witness.StartOptions{
		REST:     client.RESTConfig(),
		Baseline: baseline,
		Machines: func(ctx context.Context, names []string) map[string]running.MachineReport {
			return running.Machines(ctx, w.hosts, names)
		},
		Pauses: func(ctx context.Context, names []string, age time.Duration) map[string]running.PausesReport {
			return running.Pauses(ctx, w.hosts, names, age)
		},
		Save: func(ctx context.Context, b witness.Baseline) error {
			data, err := json.Marshal(b)
			if err != nil {
				return fmt.Errorf("encode baseline of the witness: %w", err)
			}
			return store.WriteFile(ctx, file, data, 0o600)
		},
		Steps: w.inProgress,
	})
	if err != nil {
		session.CloseAll(w.hosts)
		return nil, err
	}
	return w, nil
}

func baselineFile(operation string) string {
	return path.Join(run.Dir, "witness", operation+".json")
}

func readBaseline(ctx context.Context, store run.Store, file string) (*witness.Baseline, error) {
	data, err := store.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the earlier run ended before its witness started
	}
	if err != nil {
		return nil, fmt.Errorf("read baseline of the witness: %w", err)
	}
	var b witness.Baseline
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("read baseline of the witness (%s): %w", file, err)
	}
	return &b, nil
}

// event keeps track of the steps in progress.
func (w *watch) event(e run.Event) {
	w.note(e)
	if w.witness != nil {
		w.witness.StepsChanged()
	}
}

func (w *watch) note(e run.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := string(e.Step.ID)
	switch e.Kind {
	case run.StepStarted:
		reach := w.reach(e.Step)
		w.steps = append(w.steps, witness.Step{ID: id, Everywhere: reach.Everywhere, Machine: reach.Machine})
	case run.StepEnded:
		w.steps = slices.DeleteFunc(w.steps, func(s witness.Step) bool { return s.ID == id })
	case run.Stopping: // the steps in progress continue
	}
}

// inProgress returns the steps in progress.
func (w *watch) inProgress() []witness.Step {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.steps)
}

// haltUnless is why no further step can start: a job was interrupted, or might
// have been, and the operator did not accept that. A job that failed by itself
// stops nothing.
func (w *watch) haltUnless(accepted func(pai.ContainerEnd) bool) error {
	if w.witness == nil {
		return nil
	}
	return firstInterruption(slices.DeleteFunc(w.witness.Interruptions(), accepted))
}

// firstInterruption is the error of the first of these interruptions; nil without one.
func firstInterruption(list []pai.ContainerEnd) error {
	if len(list) == 0 {
		return nil
	}
	e := list[0]
	next := fmt.Sprintf("find the cause and run the command again; for the state of the job, run: paictl job show %s\nto accept the end of this job, use --accept-risk=%s", e.Job, guard.AcceptInterruptJob(e.Job))
	return pai.Errorf(pai.CodeFailed, next, "job %s was interrupted: container %s of pod %s on %s, during %s: %s (%s)",
		e.Job, e.Container, e.Pod, e.Machine, cmp.Or(e.Step, "no step"), e.Cause, strings.Join(e.Evidence, "; "))
}

// stop ends the witness and returns its report. Without a witness, the whole
// time is unobserved.
func (w *watch) stop(ctx context.Context) pai.Report {
	if w.witness != nil {
		defer session.CloseAll(w.hosts)
		return w.witness.Stop(ctx)
	}
	var r pai.Report
	if w.unobserved != "" {
		r.UnobservedSeconds = time.Since(w.started).Seconds()
	}
	return r
}
