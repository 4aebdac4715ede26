package run

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

	"pai.dev/pai/internal/pai"
)

// Journal is the record of operations: one file each. It is believed only for
// what cannot be observed. Whoever writes it holds the Lock.
type Journal struct {
	store Store
	dir   string
}

// NewJournal is the journal in a store.
func NewJournal(s Store) *Journal { return &Journal{store: s, dir: path.Join(Dir, "operations")} }

// idLayout makes IDs that sort as their times do.
const idLayout = "20060102T150405.000Z"

// List returns all operations, newest last. Files that cannot be read are
// left out and named in the error, which comes beside the others.
func (j *Journal) List(ctx context.Context) ([]pai.Operation, error) {
	ids, err := j.ids(ctx)
	if err != nil {
		return nil, err
	}
	operations, problems := []pai.Operation{}, []error(nil)
	for _, id := range ids {
		op, err := j.read(ctx, id)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		operations = append(operations, op)
	}
	return operations, errors.Join(problems...)
}

// Current returns the operation that was begun last, if it has not ended; nil
// otherwise.
func (j *Journal) Current(ctx context.Context) (*pai.Operation, error) {
	ids, err := j.ids(ctx)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	op, err := j.read(ctx, ids[len(ids)-1])
	if err != nil || op.Outcome != pai.OutcomeRunning {
		return nil, err
	}
	return &op, nil
}

// Newest hands over the operations, newest first, until enough says so.
func (j *Journal) Newest(ctx context.Context, enough func(pai.Operation) bool) error {
	ids, err := j.ids(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Backward(ids) {
		op, err := j.read(ctx, id)
		if err != nil {
			return err
		}
		if enough(op) {
			return nil
		}
	}
	return nil
}

// Get reads one operation.
func (j *Journal) Get(ctx context.Context, id string) (pai.Operation, error) { return j.read(ctx, id) }

// Begin records that an operation starts now; the journal gives it an ID that
// sorts after all others. One that never ended is closed as stopped.
func (j *Journal) Begin(ctx context.Context, op pai.Operation) (*Entry, error) {
	current, err := j.Current(ctx)
	if err != nil {
		return nil, err
	}
	if current != nil {
		left := &Entry{journal: j, op: *current}
		if err := left.End(ctx, pai.OutcomeStopped, errors.New("it was left unfinished, and another operation followed"), current.Report); err != nil {
			return nil, err
		}
	}
	ids, err := j.ids(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	op.Started, op.Outcome = now, pai.OutcomeRunning
	op.ID = now.Format(idLayout)
	if len(ids) > 0 && op.ID <= ids[len(ids)-1] { // this host's clock is behind another's
		last, err := time.Parse(idLayout, ids[len(ids)-1])
		if err != nil {
			return nil, fmt.Errorf("read the time in operation ID %q: %w", ids[len(ids)-1], err)
		}
		op.ID = last.Add(time.Millisecond).Format(idLayout)
	}
	if op.Steps == nil {
		op.Steps = []pai.StepRecord{}
	}
	if op.Jobs.Interrupted == nil {
		op.Jobs.Interrupted = []pai.Interruption{}
	}
	e := &Entry{journal: j, op: op}
	data, err := json.MarshalIndent(op, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	if err := j.store.CreateFile(ctx, j.file(op.ID), data, 0o600); err != nil {
		return nil, fmt.Errorf("begin operation %s in the journal: %w", op.ID, err)
	}
	return e, nil
}

// Resume goes on with an operation that has not ended.
func (j *Journal) Resume(ctx context.Context, id string) (*Entry, error) {
	op, err := j.read(ctx, id)
	if err != nil {
		return nil, err
	}
	if op.Outcome != pai.OutcomeRunning {
		return nil, pai.Errorf(pai.CodeRefused, "start a new one", "operation %s has ended: %s", id, op.Outcome)
	}
	return &Entry{journal: j, op: op}, nil
}

// ids lists the operations' IDs, oldest first. Temporary files of a store are
// no operations.
func (j *Journal) ids(ctx context.Context) ([]string, error) {
	names, err := j.store.ReadDir(ctx, j.dir)
	if err != nil {
		return nil, fmt.Errorf("list the journal: %w", err)
	}
	var ids []string
	for _, n := range names {
		id, ok := strings.CutSuffix(n, ".json")
		if _, err := time.Parse(idLayout, id); ok && err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (j *Journal) file(id string) string { return path.Join(j.dir, id+".json") }

func (j *Journal) read(ctx context.Context, id string) (pai.Operation, error) {
	data, err := j.store.ReadFile(ctx, j.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return pai.Operation{}, pai.Errorf(pai.CodeNotFound, "see paictl upgrade history", "there is no operation %q", id)
	}
	if err != nil {
		return pai.Operation{}, fmt.Errorf("read operation %s from the journal: %w", id, err)
	}
	var op pai.Operation
	if err := json.Unmarshal(data, &op); err == nil && op.ID == id {
		return op, nil
	} else if err == nil {
		err = fmt.Errorf("it says that it is operation %q", op.ID)
		return pai.Operation{}, j.corrupt(id, err)
	} else {
		return pai.Operation{}, j.corrupt(id, err)
	}
}

func (j *Journal) corrupt(id string, err error) error {
	return pai.Errorf(pai.CodeFailed, "look at the file on the control-plane machine, and move it out of the folder",
		"journal file %s is damaged: %w", j.file(id), err)
}

// Entry is the operation under way. It is safe for concurrent use.
type Entry struct {
	journal *Journal
	mu      sync.Mutex
	op      pai.Operation
}

// Operation is a copy of what is recorded.
func (e *Entry) Operation() pai.Operation {
	e.mu.Lock()
	defer e.mu.Unlock()
	op := e.op
	op.Steps = slices.Clone(op.Steps)
	return op
}

// Step records a step, in place of what was recorded of it before. What a
// failed write left out is written by the next one.
func (e *Entry) Step(ctx context.Context, s pai.StepRecord) error {
	return e.Steps(ctx, []pai.StepRecord{s})
}

// Steps records several steps at once, as Step does one.
func (e *Entry) Steps(ctx context.Context, steps []pai.StepRecord) error {
	return e.Update(ctx, func(op *pai.Operation) {
		for _, s := range steps {
			if i := slices.IndexFunc(op.Steps, func(x pai.StepRecord) bool { return x.ID == s.ID }); i >= 0 {
				op.Steps[i] = s
			} else {
				op.Steps = append(op.Steps, s)
			}
		}
	})
}

// Update changes what is recorded besides the steps.
func (e *Entry) Update(ctx context.Context, change func(*pai.Operation)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.op)
	return e.write(ctx)
}

// End records how the operation ended, and the witness's report, also when
// the user has interrupted.
func (e *Entry) End(ctx context.Context, outcome pai.Outcome, why error, report pai.Report) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return e.Update(ctx, func(op *pai.Operation) {
		op.Ended, op.Outcome, op.Report = time.Now().UTC(), outcome, report
		if op.Jobs.Interrupted == nil {
			op.Jobs.Interrupted = []pai.Interruption{}
		}
		if why != nil {
			op.Error = why.Error()
		}
	})
}

// write needs mu.
func (e *Entry) write(ctx context.Context) error {
	data, err := json.MarshalIndent(e.op, "", "  ")
	if err != nil {
		return fmt.Errorf("encode operation %s: %w", e.op.ID, err)
	}
	if err := e.journal.store.WriteFile(ctx, e.journal.file(e.op.ID), data, 0o600); err != nil {
		return fmt.Errorf("write operation %s to the journal: %w", e.op.ID, err)
	}
	return nil
}
