package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// watch is the witness of one operation, where there is something to witness:
// before the first boot, and after a clean, there is no API and no job.
type watch struct {
	witness *witness.Witness
	hosts   map[string]machine.Host // the witness's own connections
	started time.Time
	// blind is why nobody watches a cluster that may have running jobs.
	blind string

	mu   sync.Mutex
	step []string // in progress, oldest first
}

// startWatch starts the witness. The baseline is kept on the control-plane
// machine, so that an operation that is taken up again compares with what ran
// when it started, also where it is taken up while the API is away.
func (s *operation) startWatch(ctx context.Context, world plan.World, operation string, master run.Store, resumed bool) (*watch, error) {
	w := &watch{started: time.Now()}
	var baseline *witness.Baseline
	file := baselineFile(operation)
	if resumed {
		var err error
		if baseline, err = readBaseline(ctx, master, file); err != nil {
			return nil, err
		}
	}
	if !world.APIReachable && baseline == nil {
		if world.Current.Kubernetes != "" {
			w.blind = world.APIError
		}
		return w, nil
	}
	client, err := s.Kube(ctx)
	if err != nil && !world.APIReachable { // what to compare with is there, and nothing to reach an API with
		w.blind = err.Error()
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
				return fmt.Errorf("encode the baseline: %w", err)
			}
			return master.WriteFile(ctx, file, data, 0o600)
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
		return nil, nil // the earlier run ended before its witness began
	}
	if err != nil {
		return nil, fmt.Errorf("read what the witness saw at the start: %w", err)
	}
	var b witness.Baseline
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("read what the witness saw at the start (%s): %w", file, err)
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
		for i, s := range w.step {
			if s == id {
				w.step = append(w.step[:i:i], w.step[i+1:]...)
				break
			}
		}
	}
}

// inProgress names the steps in progress.
func (w *watch) inProgress() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := ""
	for i, s := range w.step {
		if i > 0 {
			text += ", "
		}
		text += s
	}
	return text
}

// haltUnless is why nothing more may be begun: a job was interrupted, and the
// operator did not accept that.
func (w *watch) haltUnless(accepted func(pai.Interruption) bool) error {
	if w.witness == nil || !slices.ContainsFunc(w.witness.Interruptions(), func(i pai.Interruption) bool { return !accepted(i) }) {
		return nil
	}
	return w.witness.Halt()
}

// stop takes the report. Where nobody watched, the whole time is unobserved.
func (w *watch) stop(ctx context.Context) pai.Report {
	if w.witness != nil {
		defer session.CloseAll(w.hosts)
		return w.witness.Stop(ctx)
	}
	var r pai.Report
	if w.blind != "" {
		r.UnobservedSeconds = time.Since(w.started).Seconds()
	}
	return r
}

// guard makes the guard that answers for the steps of one operation.
func (s *operation) newGuard(accept []string) (*guard.Guard, error) {
	facts := guard.LiveFacts{
		API:   func(ctx context.Context) (guard.API, error) { return s.Kube(ctx) },
		Hosts: s.Hosts,
		Files: s.filesOf,
	}
	return guard.New(facts, s.impacts(), accept)
}

// filesOf are the files that a step would write on its machine, for the guard
// to compare with what runs.
func (s *operation) filesOf(ctx context.Context, step plan.Step) (map[string]string, error) {
	bundle, err := s.bundleFor(step)
	if err != nil {
		return nil, err
	}
	deps := cluster.Deps{Config: s.Config, Hosts: s.Hosts, Kube: s.Kube, Progress: s.Progressf}
	if bundle != nil {
		deps.Bundle = bundle
	}
	return cluster.Files(ctx, deps, step)
}
