package operation

import (
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

	mu   sync.Mutex
	step []string // in progress, oldest first
}

// startWatch starts the witness. The baseline is stored on the control-plane
// machine, so that a resumed operation is compared with what ran when it first
// started, also if it is resumed during an API outage.
func startWatch(ctx context.Context, s *session.Session, world plan.World, operation string, store run.Store, resumed bool) (*watch, error) {
	w := &watch{started: time.Now()}
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
		Save: func(ctx context.Context, b witness.Baseline) error {
			data, err := json.Marshal(b)
			if err != nil {
				return fmt.Errorf("encode baseline of the witness: %w", err)
			}
			return store.WriteFile(ctx, file, data, 0o600)
		},
		Step: w.inProgress,
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
	w.mu.Lock()
	defer w.mu.Unlock()
	id := string(e.Step.ID)
	switch e.Kind {
	case run.StepStarted:
		w.step = append(w.step, id)
	case run.StepEnded:
		if i := slices.Index(w.step, id); i >= 0 {
			w.step = slices.Delete(w.step, i, i+1)
		}
	case run.Stopping: // the steps in progress continue
	}
}

// inProgress names the steps in progress.
func (w *watch) inProgress() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.step, ", ")
}

// haltUnless is why no further step can start: a job was interrupted, and the
// operator did not accept that.
func (w *watch) haltUnless(accepted func(pai.Interruption) bool) error {
	if w.witness == nil || !slices.ContainsFunc(w.witness.Interruptions(), func(i pai.Interruption) bool { return !accepted(i) }) {
		return nil
	}
	return w.witness.Halt()
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
