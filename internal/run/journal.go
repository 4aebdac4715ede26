package run

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// Journal is the record of operations. PAI relies on it only for what cannot be
// observed. The process that writes it holds the Lock.
//
// Each operation has a file <id>.json. While the operation runs, the file names
// a log, <id>.<number>.log, to which events are appended; the record is the file
// with these events applied. Each time that the file is written, it contains all
// earlier events and names a new log, or none once the operation has ended. So a
// late write into an old log changes nothing.
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
	ids, err := j.IDs(ctx)
	if err != nil {
		return nil, err
	}
	operations, problems := []pai.Operation{}, []error(nil)
	for _, id := range ids {
		op, err := j.Get(ctx, id)
		if pai.CodeOf(err) == pai.CodeNotFound { // pruned since
			continue
		}
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
	ids, err := j.IDs(ctx)
	if err != nil {
		return nil, err
	}
	f, err := j.running(ctx, ids)
	if f == nil {
		return nil, err
	}
	return &f.Operation, err
}

// running returns the last of the operations if it has not ended, else nil.
func (j *Journal) running(ctx context.Context, ids []string) (*file, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	f, err := j.read(ctx, ids[len(ids)-1])
	if err != nil || f.Outcome != pai.OutcomeRunning {
		return nil, err
	}
	return &f, nil
}

// Newest calls enough with each operation, newest first, until it returns true.
func (j *Journal) Newest(ctx context.Context, enough func(pai.Operation) bool) error {
	ids, err := j.IDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Backward(ids) {
		op, err := j.Get(ctx, id)
		if pai.CodeOf(err) == pai.CodeNotFound { // pruned since
			continue
		}
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
func (j *Journal) Get(ctx context.Context, id string) (pai.Operation, error) {
	f, err := j.read(ctx, id)
	return f.Operation, err
}

// Begin records that an operation starts now. Its new ID sorts after all
// others. An operation that never ended is closed as stopped.
func (j *Journal) Begin(ctx context.Context, op pai.Operation) (*Entry, error) {
	ids, err := j.IDs(ctx)
	if err != nil {
		return nil, err
	}
	left, err := j.running(ctx, ids)
	if err != nil {
		return nil, err
	}
	if left != nil {
		why := errors.New("unfinished, and another operation followed")
		if err := continued(j, *left).End(ctx, pai.OutcomeStopped, why, left.Report); err != nil {
			return nil, err
		}
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
	if err := j.held(); err != nil {
		return nil, err
	}
	f := file{op, now.UnixMilli()}
	data, err := encode(f)
	if err != nil {
		return nil, err
	}
	if err := j.store.CreateFile(ctx, j.file(op.ID), data, 0o600); err != nil {
		return nil, fmt.Errorf("write operation %s to the journal: %w", op.ID, err)
	}
	return newEntry(j, f), nil
}

// Resume continues an operation that has not ended.
func (j *Journal) Resume(ctx context.Context, id string) (*Entry, error) {
	f, err := j.read(ctx, id)
	if err != nil {
		return nil, err
	}
	if f.Outcome != pai.OutcomeRunning {
		return nil, pai.Errorf(pai.CodeRefused, "start a new operation", "operation %s has ended: %s", id, f.Outcome)
	}
	return continued(j, f), nil
}

// Remove removes operations that have ended. The file of an operation goes last,
// so that it is listed until all of it is removed.
func (j *Journal) Remove(ctx context.Context, ids []string) error {
	names, err := j.store.ReadDir(ctx, j.dir)
	if err != nil {
		return fmt.Errorf("list journal: %w", err)
	}
	for _, id := range ids {
		for _, name := range append(logsOf(id, names), id+".json") {
			if err := j.held(); err != nil {
				return err
			}
			if err := j.store.Remove(ctx, path.Join(j.dir, name)); err != nil {
				return fmt.Errorf("remove operation %s: %w", id, err)
			}
		}
	}
	return nil
}

// IDs lists the IDs of the operations, oldest first. It ignores temporary files
// of the store.
func (j *Journal) IDs(ctx context.Context) ([]string, error) {
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
