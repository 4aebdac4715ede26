package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// history is a journal of a test, with a baseline for each operation.
type history struct {
	files runtest.Dir
	ids   []string
}

func newHistory(t *testing.T, ops ...pai.Operation) *history {
	t.Helper()
	h := &history{files: runtest.Dir(t.TempDir())}
	for _, op := range ops {
		if err := h.add(t, op); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *history) journal() *run.Journal { return run.NewJournal(h.files) }

// add records an operation that has ended unless its outcome is running.
func (h *history) add(t *testing.T, op pai.Operation) error {
	entry, err := h.journal().Begin(t.Context(), op)
	if err != nil {
		return err
	}
	h.ids = append(h.ids, entry.Operation().ID)
	err = h.files.WriteFile(t.Context(), baselineFile(entry.Operation().ID), []byte("{}"), 0o600)
	if op.Outcome != pai.OutcomeRunning {
		err = errors.Join(err, entry.End(t.Context(), op.Outcome, nil, pai.Report{}))
	}
	return err
}

// left are the indexes of the operations that exist, and of the baselines.
func (h *history) left(t *testing.T) (operations, baselines []int) {
	t.Helper()
	ids, err := h.journal().IDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names, err := h.files.ReadDir(t.Context(), "/var/lib/pai/witness")
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range h.ids {
		if slices.Contains(ids, id) {
			operations = append(operations, i)
		}
		if slices.Contains(names, id+".json") {
			baselines = append(baselines, i)
		}
	}
	return operations, baselines
}

func TestPruneKeepsNeededOperations(t *testing.T) {
	t.Parallel()
	nine, ten := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	op := func(verb pai.Verb, from, to pai.Pair, o pai.Outcome) pai.Operation {
		return pai.Operation{Verb: verb, From: from, To: to, Outcome: o}
	}
	boot, start := op(pai.VerbBoot, pai.Pair{}, nine, pai.OutcomeSucceeded), op(pai.VerbStartServices, nine, nine, pai.OutcomeSucceeded)
	upgrade := op(pai.VerbUpgrade, nine, ten, pai.OutcomeSucceeded)
	failed, waits := upgrade, upgrade
	failed.Outcome, waits.Outcome = pai.OutcomeFailed, pai.OutcomeWaiting
	cordons := start
	cordons.Cordoned = []pai.Cordon{{Machine: "gpu-1"}}
	running := start
	running.Outcome = pai.OutcomeRunning
	rollback := op(pai.VerbRollback, ten, nine, pai.OutcomeSucceeded)
	abandon := op(pai.VerbAbandon, nine, nine, pai.OutcomeSucceeded)
	for _, c := range []struct {
		name    string
		ops     []pai.Operation
		marks   []int // operations that a node names as having cordoned it
		unknown bool  // marks
		want    []int
	}{
		{"fewer than the limit", []pai.Operation{boot, start}, nil, false, []int{0, 1}},
		{"no upgrade", []pai.Operation{boot, start, start, start, start}, nil, false, []int{3, 4}},
		{"the newest upgrade", []pai.Operation{boot, upgrade, start, start, start}, nil, false, []int{1, 3, 4}},
		{"an older upgrade", []pai.Operation{upgrade, start, upgrade, start, start, start}, nil, false, []int{0, 2, 4, 5}},
		{"an upgrade to something else", []pai.Operation{op(pai.VerbUpgrade, ten, nine, pai.OutcomeSucceeded), start, start, upgrade, start, start}, nil, false, []int{0, 3, 4, 5}},
		{"repeated upgrade: the first and the last", []pai.Operation{failed, failed, failed, start, start}, nil, false, []int{0, 2, 3, 4}},
		{"an upgrade that waits", []pai.Operation{waits, start, start, start}, nil, false, []int{0, 2, 3}},
		{"an abandoned upgrade and what abandoned it", []pai.Operation{waits, abandon, start, start, start}, nil, false, []int{0, 1, 3, 4}},
		{"a rollback after an upgrade", []pai.Operation{upgrade, rollback, start, start, start}, nil, false, []int{0, 1, 3, 4}},
		{"an operation that cordons a machine", []pai.Operation{cordons, cordons, start, start}, []int{1}, false, []int{1, 2, 3}},
		{"cordons are unknown", []pai.Operation{cordons, start, start, start}, nil, true, []int{0, 2, 3}},
		{"the running operation", []pai.Operation{start, start, start, running}, nil, false, []int{2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, c.ops...)
			w := plan.World{APIReachable: !c.unknown}
			for _, i := range c.marks {
				w.Machines = append(w.Machines, plan.MachineState{Name: "gpu-1", Node: &plan.Node{CordonedBy: h.ids[i]}})
			}
			if err := pruneOperations(t.Context(), h.journal(), h.files, 2, cordonsOf(w)); err != nil {
				t.Fatal(err)
			}
			operations, baselines := h.left(t)
			if !slices.Equal(operations, c.want) || !slices.Equal(baselines, c.want) {
				t.Errorf("got operations %v and baselines %v, want %v", operations, baselines, c.want)
			}
		})
	}
}

// An operation that never ended stays, also if it is not the newest: another
// process wrote a later one.
func TestPruneKeepsRunningOperation(t *testing.T) {
	t.Parallel()
	h := newHistory(t, pai.Operation{Verb: pai.VerbBoot}, pai.Operation{Verb: pai.VerbBoot}, pai.Operation{Verb: pai.VerbBoot})
	op, err := h.journal().Get(t.Context(), h.ids[0])
	if err != nil {
		t.Fatal(err)
	}
	op.Outcome = pai.OutcomeRunning
	data, err := json.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.files.WriteFile(t.Context(), run.Dir+"/operations/"+op.ID+".json", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pruneOperations(t.Context(), h.journal(), h.files, 1, cordonMarks{known: true}); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.left(t); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("got %v, want the running operation and the newest", got)
	}
}

func TestPruneOfDamagedJournalRemovesNothing(t *testing.T) {
	t.Parallel()
	done := pai.Operation{Verb: pai.VerbBoot, Outcome: pai.OutcomeSucceeded}
	h := newHistory(t, done, done, done, done)
	if err := h.files.WriteFile(t.Context(), run.Dir+"/operations/"+h.ids[2]+".json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := pruneOperations(t.Context(), h.journal(), h.files, 1, cordonMarks{known: true})
	if got, _ := h.left(t); err == nil || !strings.Contains(err.Error(), h.ids[2]) || len(got) != 4 {
		t.Errorf("got operations %v, error %v, want all of them and the damaged file", got, err)
	}
}

// The baseline of an operation that another process started meanwhile stays.
func TestPruneLeavesLaterBaseline(t *testing.T) {
	t.Parallel()
	done := pai.Operation{Verb: pai.VerbBoot, Outcome: pai.OutcomeSucceeded}
	h := newHistory(t, done, done, done)
	const later = "20990101T000000.000Z"
	if err := h.files.WriteFile(t.Context(), baselineFile(later), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pruneOperations(t.Context(), h.journal(), h.files, 1, cordonMarks{known: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.files.ReadFile(t.Context(), baselineFile(later)); err != nil {
		t.Error(err)
	}
}

// answers are what PAI reads from the journal to decide. It names operations by
// when they were recorded.
func answers(t *testing.T, rt *rapid.T, h *history) string {
	number := func(op *pai.Operation) int {
		if op == nil {
			return -1
		}
		return slices.Index(h.ids, op.ID)
	}
	upgrades, err := searchUpgrade(t.Context(), h.journal())
	if err != nil {
		rt.Fatal(err)
	}
	last, abandoned := upgrades.last, upgrades.abandons()
	s := newRollbackSearches()
	if err := h.journal().Newest(t.Context(), s.add); err != nil {
		rt.Fatal(err)
	}
	previous := ""
	for _, target := range []plan.Target{{}, {KubernetesOnly: true}, {ServicesOnly: true}} {
		pair, refused := s.of(target).versions()
		previous += fmt.Sprint(" previous ", s.of(target).partOf(pair), " refused ", refused != nil)
	}
	current, err := h.journal().Current(t.Context())
	if err != nil {
		rt.Fatal(err)
	}
	return fmt.Sprint("last ", number(last), " abandoned ", number(abandoned), " current ", number(current), previous)
}

// For any history, a journal that is pruned after each operation answers as one
// that never is, and has few more operations than the limit.
func TestPrunedJournalAnswersAsWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(rt, "limit")
		whole, pruned := newHistory(t), newHistory(t)
		pairs := []pai.Pair{{}, {Services: "v0.9", Kubernetes: "v0.9-pai"}, {Services: "v0.9", Kubernetes: "v0.10-pai"}, {Services: "v0.10", Kubernetes: "v0.10-pai"}}
		for range rapid.IntRange(1, 12).Draw(rt, "operations") {
			op := pai.Operation{
				Verb:    rapid.SampledFrom([]pai.Verb{pai.VerbUpgrade, pai.VerbUpgrade, pai.VerbRollback, pai.VerbAbandon, pai.VerbBoot, pai.VerbStartServices, pai.VerbClean, pai.VerbStage}).Draw(rt, "verb"),
				From:    rapid.SampledFrom(pairs).Draw(rt, "from"),
				To:      rapid.SampledFrom(pairs).Draw(rt, "to"),
				Outcome: rapid.SampledFrom([]pai.Outcome{pai.OutcomeSucceeded, pai.OutcomeSucceeded, pai.OutcomeFailed, pai.OutcomeWaiting, pai.OutcomeRunning}).Draw(rt, "outcome"),
			}
			if err := errors.Join(whole.add(t, op), pruned.add(t, op)); err != nil {
				rt.Fatal(err)
			}
			if err := pruneOperations(t.Context(), pruned.journal(), pruned.files, limit, cordonMarks{known: true}); err != nil {
				rt.Fatal(err)
			}
			if got, want := answers(t, rt, pruned), answers(t, rt, whole); got != want {
				rt.Fatalf("got  %s\nwant %s", got, want)
			}
			operations, baselines := pruned.left(t)
			if len(operations) > limit+7 || !slices.Equal(operations, baselines) || len(operations) < min(limit, len(pruned.ids)) {
				rt.Fatalf("%d operations and %d baselines with limit %d", len(operations), len(baselines), limit)
			}
		}
	})
}

// Every operation prunes when it ends, also one that fails. What cannot be
// pruned is reported, and the operation has succeeded.
func TestFlowPrunesHistory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		fails, damaged  bool
		operations      int
		outcome         pai.Outcome
		notice          string
		revisions, from int
	}{
		{"succeeds", false, false, 2, pai.OutcomeSucceeded, "", 2, 5},
		{"fails", true, false, 2, pai.OutcomeFailed, "", 2, 5},
		{"cannot prune", false, true, 2, pai.OutcomeSucceeded, "could not remove old operations", 2, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, "a")
			for range 5 {
				entry, err := run.NewJournal(f.files).Begin(t.Context(), pai.Operation{Verb: pai.VerbDeleteService})
				if err == nil {
					err = entry.End(t.Context(), pai.OutcomeSucceeded, nil, pai.Report{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			store := revision.NewStore(f.files)
			for n := range c.from {
				if _, err := store.Add(t.Context(), n, "ann@host", "change", map[string][]byte{"layout.yaml": {byte(n)}}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := configsync.PushLocked(t.Context(), f.Session, "this", c.from); err != nil {
				t.Fatal(err)
			}
			if c.damaged {
				if err := f.files.WriteFile(t.Context(), run.Dir+"/witness", []byte("no directory"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.fails {
				f.fail = errors.New("no")
			}
			notices := ""
			f.Progressf = func(format string, args ...any) { notices += fmt.Sprintf(format, args...) + "\n" }
			f.Config.Services.Cluster.Common.HistoryLimit = 2
			op, err := Run(t.Context(), f.Session, &deletions{flow: f, volumes: []string{"a"}}, RunOptions{Observer: f})
			if (err != nil) != c.fails || op.Outcome != c.outcome {
				t.Fatalf("got %+v, %v", op, err)
			}
			all, _ := run.NewJournal(f.files).List(t.Context())
			if len(all) != c.operations || all[len(all)-1].ID != op.ID || !strings.Contains(notices, c.notice) {
				t.Errorf("got %d operations, want %d; notices %s", len(all), c.operations, notices)
			}
			revisions, err := store.List(t.Context())
			if err != nil || len(revisions) != c.revisions {
				t.Errorf("got %d revisions, error %v, want %d", len(revisions), err, c.revisions)
			}
		})
	}
}
