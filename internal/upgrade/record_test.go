package upgrade

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// files is a store in memory.
type files map[string][]byte

func (f files) ReadFile(_ context.Context, name string) ([]byte, error) {
	if data, ok := f[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (f files) WriteFile(_ context.Context, name string, data []byte, _ fs.FileMode) error {
	f[name] = data
	return nil
}

func (f files) CreateFile(_ context.Context, name string, data []byte, _ fs.FileMode) error {
	if _, ok := f[name]; ok {
		return fs.ErrExist
	}
	f[name] = data
	return nil
}

func (f files) Remove(_ context.Context, name string) error {
	delete(f, name)
	return nil
}

func (f files) ReadDir(_ context.Context, dir string) ([]string, error) {
	var names []string
	for name := range f {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// An operation that was killed when all was done, and before that was written
// down, is seen to lack its end, by a command after the same and by no other.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), files{}
	to := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	same := plan.Plan{Verb: "upgrade", To: to}
	expect := func(when string, p plan.Plan, want bool) {
		t.Helper()
		if got, err := unfinished(ctx, store, p); err != nil || got != want {
			t.Errorf("%s: %v (error %v), want %v", when, got, err, want)
		}
	}
	expect("no operation yet", same, false)
	entry, err := run.NewJournal(store).Begin(ctx, pai.Operation{Verb: "upgrade", To: to})
	if err != nil {
		t.Fatal(err)
	}
	expect("killed", same, true)
	expect("killed, another verb", plan.Plan{Verb: "k8s-bootup", To: to}, false)
	expect("killed, another goal", plan.Plan{Verb: "upgrade", To: pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}}, false)
	if err := entry.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
		t.Fatal(err)
	}
	expect("ended", same, false)
}
