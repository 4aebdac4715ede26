package run

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
)

// Entry is the operation in progress. It is safe for concurrent use: changes that
// are made while a call writes are written together by the next.
type Entry struct {
	journal *Journal
	id      string
	writing chan struct{} // holds a value while a call writes

	mu      sync.Mutex
	op      pai.Operation // without its steps
	steps   stepList
	log     int64  // number of the last log; 0 for none
	whole   bool   // the next write replaces the file and starts a log
	pending []byte // events that are not written
	changes int    // how many changes were made
	written int    // how many of them are on disk
}

func newEntry(j *Journal, f file) *Entry {
	e := &Entry{journal: j, id: f.ID, writing: make(chan struct{}, 1), op: f.Operation, log: f.Log}
	e.steps.steps, e.op.Steps = f.Steps, nil
	return e
}

// continued is the entry of an operation of another process, whose last event
// can be cut off: the first write starts a new log.
func continued(j *Journal, f file) *Entry {
	e := newEntry(j, f)
	e.whole = true
	return e
}

// Operation returns a copy of the record.
func (e *Entry) Operation() pai.Operation {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.operation()
}

// operation needs mu.
func (e *Entry) operation() pai.Operation {
	op := e.op
	op.Steps = slices.Clone(e.steps.steps)
	return op
}

// Step records a step and replaces an earlier record of it. When it returns nil,
// the record is on disk. The next write includes what a failed one left out.
func (e *Entry) Step(ctx context.Context, s pai.StepRecord) error {
	return e.Steps(ctx, []pai.StepRecord{s})
}

// Steps records several steps at once.
func (e *Entry) Steps(ctx context.Context, steps []pai.StepRecord) error {
	return e.commit(ctx, func() error {
		var changed []pai.StepRecord
		for _, s := range steps {
			if e.steps.set(s) {
				changed = append(changed, s)
			}
		}
		return e.add(event{Steps: changed})
	})
}

// Update changes the record. If the lock of the journal is lost, it returns the
// error of the lock and changes nothing.
func (e *Entry) Update(ctx context.Context, change func(*pai.Operation)) error {
	return e.commit(ctx, func() error {
		before, err := fieldsOf(e.op)
		if err != nil {
			return err
		}
		op := e.operation()
		change(&op)
		if !slices.Equal(op.Steps, e.steps.steps) {
			e.steps, e.whole = stepList{steps: op.Steps}, true
		}
		e.op = op
		e.op.Steps = nil
		after, err := fieldsOf(op)
		if err != nil {
			return err
		}
		return e.add(difference(before, after))
	})
}

// End records the outcome of the operation and the report of the witness, even
// if ctx is canceled.
func (e *Entry) End(ctx context.Context, outcome pai.Outcome, why error, report pai.Report) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return e.commit(ctx, func() error {
		e.whole = true
		e.op.Ended, e.op.Outcome, e.op.Report = time.Now().UTC(), outcome, report
		if why != nil {
			e.op.Error = why.Error()
		}
		return nil
	})
}

// add adds an event to those that are to be written. It needs mu.
func (e *Entry) add(v event) error {
	if len(v.Steps)+len(v.Set)+len(v.Append) == 0 {
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an event of operation %s: %w", e.id, err)
	}
	e.pending = append(append(e.pending, line...), '\n')
	return nil
}

// commit makes a change, with mu held, and returns nil when it is on disk.
func (e *Entry) commit(ctx context.Context, change func() error) error {
	e.mu.Lock()
	err := e.journal.held()
	if err == nil {
		err = change()
		e.changes++
	}
	number := e.changes
	e.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case e.writing <- struct{}{}:
		defer func() { <-e.writing }()
	case <-ctx.Done():
		return fmt.Errorf("write operation %s to the journal: %w", e.id, context.Cause(ctx))
	}
	return e.write(ctx, number)
}

// write writes all changes, unless the call before has written the one with a
// number.
func (e *Entry) write(ctx context.Context, number int) error {
	e.mu.Lock()
	changes, write := e.changes, e.appendEvents
	if !e.whole && len(e.pending) == 0 {
		e.written = changes
	}
	if e.written >= number {
		e.mu.Unlock()
		return nil
	}
	if e.whole || e.log == 0 || len(e.pending) > maxAppend {
		write = e.replaceFile
	}
	store, err := write(ctx)
	e.whole, e.pending = false, nil
	e.mu.Unlock()

	if err == nil {
		err = e.journal.held()
	}
	if err == nil {
		err = store()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.whole = true // the log can end in a part of a line
		return fmt.Errorf("write operation %s to the journal: %w", e.id, err)
	}
	e.written = changes
	return nil
}

// appendEvents returns how the pending events are written. It needs mu.
func (e *Entry) appendEvents(ctx context.Context) (func() error, error) {
	log, data := e.journal.logFile(e.id, e.log), e.pending
	return func() error { return e.journal.store.AppendFile(ctx, log, data) }, nil
}

// replaceFile returns how the whole record is written. It needs mu.
func (e *Entry) replaceFile(ctx context.Context) (func() error, error) {
	old, f := e.log, file{Operation: e.operation()}
	if f.Outcome == pai.OutcomeRunning {
		f.Log = max(old+1, time.Now().UnixMilli())
	}
	data, err := encode(f)
	e.log = f.Log
	return func() error {
		if err := e.journal.store.WriteFile(ctx, e.journal.file(e.id), data, 0o600); err != nil {
			return err
		}
		if old != 0 {
			// No file names it any more. Pruning removes what stays behind.
			_ = e.journal.store.Remove(ctx, e.journal.logFile(e.id, old))
		}
		return nil
	}, err
}
