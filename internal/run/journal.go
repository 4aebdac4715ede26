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

// Journal is the record of operations, one file for each. PAI relies on it only
// for what cannot be observed. The process that writes it holds the Lock.
type Journal struct {
	store Store
	dir   string
	held  func() error // returns an error when the lock is lost
}

// NewJournal returns the journal in a store.
func NewJournal(s Store) *Journal {
	return &Journal{store: s, dir: path.Join(Dir, "operations"), held: func() error { return nil }}
}

// Under returns the journal for a process that holds a lock. Nothing is written
// when the lock is lost: its next holder can have resumed the same operation.
func (j *Journal) Under(l *Lock) *Journal { return &Journal{store: j.store, dir: j.dir, held: l.Err} }

// idLayout makes IDs that sort as their times do.
const idLayout = "20060102T150405.000Z"

// List returns all operations, newest last. It skips files that cannot be read,
// and returns an error that names them together with the other operations.
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

// Current returns the newest operation if it has not ended, else nil.
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

// Newest calls enough with each operation, newest first, until it returns true.
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

// Begin records that an operation starts now. Its new ID sorts after all
// others. An operation that never ended is closed as stopped.
func (j *Journal) Begin(ctx context.Context, op pai.Operation) (*Entry, error) {
	current, err := j.Current(ctx)
	if err != nil {
		return nil, err
	}
	if current != nil {
		left := &Entry{journal: j, op: *current}
		if err := left.End(ctx, pai.OutcomeStopped, errors.New("unfinished, and another operation followed"), current.Report); err != nil {
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
	if len(ids) > 0 && op.ID <= ids[len(ids)-1] { // the clock of this host is behind
		last, err := time.Parse(idLayout, ids[len(ids)-1])
		if err != nil {
			return nil, fmt.Errorf("parse operation ID %q: %w", ids[len(ids)-1], err)
		}
		op.ID = last.Add(time.Millisecond).Format(idLayout)
	}
	if op.Steps == nil {
		op.Steps = []pai.StepRecord{}
	}
	if op.Jobs.Interrupted == nil {
		op.Jobs.Interrupted = []pai.Interruption{}
	}
	if err := j.held(); err != nil {
		return nil, err
	}
	e := &Entry{journal: j, op: op}
	data, err := json.MarshalIndent(op, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	if err := j.store.CreateFile(ctx, j.file(op.ID), data, 0o600); err != nil {
		return nil, fmt.Errorf("write operation %s to the journal: %w", op.ID, err)
	}
	return e, nil
}

// Resume continues an operation that has not ended.
func (j *Journal) Resume(ctx context.Context, id string) (*Entry, error) {
	op, err := j.read(ctx, id)
	if err != nil {
		return nil, err
	}
	if op.Outcome != pai.OutcomeRunning {
		return nil, pai.Errorf(pai.CodeRefused, "start a new operation", "operation %s has ended: %s", id, op.Outcome)
	}
	return &Entry{journal: j, op: op}, nil
}

// ids lists the IDs of the operations, oldest first. It ignores temporary files
// of the store.
func (j *Journal) ids(ctx context.Context) ([]string, error) {
	names, err := j.store.ReadDir(ctx, j.dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
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
		return pai.Operation{}, pai.Errorf(pai.CodeNotFound, "to list operations, run: paictl upgrade history", "operation %q not found", id)
	}
	if err != nil {
		return pai.Operation{}, fmt.Errorf("read operation %s: %w", id, err)
	}
	var op pai.Operation
	if err := json.Unmarshal(data, &op); err == nil && op.ID == id {
		return op, nil
	} else if err == nil {
		err = fmt.Errorf("the file has the ID %q", op.ID)
		return pai.Operation{}, j.corrupt(id, err)
	} else {
		return pai.Operation{}, j.corrupt(id, err)
	}
}

func (j *Journal) corrupt(id string, err error) error {
	return pai.Errorf(pai.CodeFailed, "check the file on the control-plane machine, and move it out of the directory",
		"journal file %s is damaged: %w", j.file(id), err)
}

// Entry is the operation in progress. It is safe for concurrent use.
type Entry struct {
	journal *Journal
	mu      sync.Mutex
	op      pai.Operation
}

// Operation returns a copy of the record.
func (e *Entry) Operation() pai.Operation {
	e.mu.Lock()
	defer e.mu.Unlock()
	op := e.op
	op.Steps = slices.Clone(op.Steps)
	return op
}

// Step records a step and replaces an earlier record of it. The next write
// includes what a failed one left out.
func (e *Entry) Step(ctx context.Context, s pai.StepRecord) error {
	return e.Steps(ctx, []pai.StepRecord{s})
}

// Steps records several steps at once.
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

// Update changes the record. If the lock of the journal is lost, it returns the
// error of the lock and changes nothing.
func (e *Entry) Update(ctx context.Context, change func(*pai.Operation)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.journal.held(); err != nil {
		return err
	}
	change(&e.op)
	return e.write(ctx)
}

// End records the outcome of the operation and the report of the witness, even
// if ctx is canceled.
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
