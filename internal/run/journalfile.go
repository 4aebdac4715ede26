package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// file is the content of <id>.json.
type file struct {
	pai.Operation
	// Log is the number of the log with the later events; 0 for none.
	Log int64 `json:"log,omitempty"`
}

// event is one line of a log.
type event struct {
	Steps  []pai.StepRecord             `json:"steps,omitempty"`  // added, or replaced by ID
	Set    map[string]json.RawMessage   `json:"set,omitempty"`    // other fields of the operation
	Append map[string][]json.RawMessage `json:"append,omitempty"` // elements added to a list of the operation
}

func (j *Journal) file(id string) string { return path.Join(j.dir, id+".json") }

func (j *Journal) logFile(id string, log int64) string {
	return path.Join(j.dir, fmt.Sprintf("%s.%d.log", id, log))
}

// logsOf returns which files are logs of an operation.
func logsOf(id string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !strings.HasPrefix(name, id+".") || !strings.HasSuffix(name, ".log")
	})
}

// read reads an operation, with the events of its log.
func (j *Journal) read(ctx context.Context, id string) (file, error) {
	f, err := j.readFile(ctx, id)
	for err == nil && f.Log != 0 {
		data, failed := j.store.ReadFile(ctx, j.logFile(id, f.Log))
		if failed == nil {
			f.Operation, err = withEvents(f.Operation, data)
			if err != nil {
				err = damaged(j.logFile(id, f.Log), err)
			}
			return f, err
		}
		if !errors.Is(failed, fs.ErrNotExist) {
			return f, fmt.Errorf("read events of operation %s: %w", id, failed)
		}
		log := f.Log
		if f, err = j.readFile(ctx, id); f.Log == log { // no event yet
			return f, err
		} // else the file was written in between
	}
	return f, err
}

func (j *Journal) readFile(ctx context.Context, id string) (f file, err error) {
	data, err := j.store.ReadFile(ctx, j.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return f, pai.Errorf(pai.CodeNotFound, "to list operations, run: paictl upgrade history", "operation %q not found", id)
	}
	if err != nil {
		return f, fmt.Errorf("read operation %s: %w", id, err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, damaged(j.file(id), err)
	}
	if f.ID != id {
		return f, damaged(j.file(id), fmt.Errorf("the file has the ID %q", f.ID))
	}
	return f, nil
}

func damaged(file string, err error) error {
	return pai.Errorf(pai.CodeFailed, "check the file on the control-plane machine, and move it out of the directory",
		"journal file %s is damaged: %w", file, err)
}

func encode(f file) ([]byte, error) {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode operation %s: %w", f.ID, err)
	}
	return data, nil
}

// withEvents applies the events of a log to an operation. A last line without an
// end was cut off while it was written: its writer got no success, so nothing
// relies on it.
func withEvents(op pai.Operation, log []byte) (pai.Operation, error) {
	fields, err := fieldsOf(op)
	if err != nil {
		return op, err
	}
	steps := stepList{steps: slices.Clone(op.Steps)}
	lines := bytes.Split(log, []byte("\n"))
	for i, line := range lines[:len(lines)-1] {
		if err := apply(line, fields, &steps); err != nil {
			return op, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return op, err
	}
	id := op.ID
	op = pai.Operation{}
	if err := json.Unmarshal(data, &op); err != nil {
		return op, err
	}
	if op.ID != id {
		return op, fmt.Errorf("an event changes the ID to %q", op.ID)
	}
	op.Steps = steps.steps
	return op, nil
}

func apply(line []byte, fields map[string]json.RawMessage, steps *stepList) error {
	var e event
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one event")
	}
	for _, s := range e.Steps {
		steps.set(s)
	}
	for name, value := range e.Set {
		fields[name] = value
	}
	for name, values := range e.Append {
		var list []json.RawMessage
		if err := json.Unmarshal(fields[name], &list); len(fields[name]) > 0 && err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var err error
		if fields[name], err = json.Marshal(append(list, values...)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// fieldsOf are the fields of an operation without its steps.
func fieldsOf(op pai.Operation) (map[string]json.RawMessage, error) {
	op.Steps = nil
	data, err := json.Marshal(op)
	if err != nil {
		return nil, fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	delete(fields, "steps")
	return fields, nil
}

// difference is the event that changes fields. A list that only grew is appended
// to, so that the size of an event does not depend on earlier ones.
func difference(before, after map[string]json.RawMessage) event {
	e := event{Set: map[string]json.RawMessage{}, Append: map[string][]json.RawMessage{}}
	for name := range before {
		if after[name] == nil {
			e.Set[name] = json.RawMessage("null")
		}
	}
	for name, value := range after {
		if bytes.Equal(value, before[name]) {
			continue
		}
		if added, ok := addedTo(before[name], value); ok {
			e.Append[name] = added
		} else {
			e.Set[name] = value
		}
	}
	return e
}

// addedTo returns what a list has after all elements that it had before.
func addedTo(before, after json.RawMessage) ([]json.RawMessage, bool) {
	var was, is []json.RawMessage
	if before == nil || json.Unmarshal(before, &was) != nil || json.Unmarshal(after, &is) != nil || len(was) == 0 || len(is) <= len(was) {
		return nil, false
	}
	same := slices.EqualFunc(was, is[:len(was)], func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
	return is[len(was):], same
}

// stepList is a list of step records with one for each ID.
type stepList struct {
	steps []pai.StepRecord
	index map[string]int
}

// set adds or replaces a record, and reports whether that changed anything.
func (l *stepList) set(s pai.StepRecord) bool {
	if l.index == nil {
		l.index = map[string]int{}
		for i, s := range l.steps {
			l.index[s.ID] = i
		}
	}
	i, known := l.index[s.ID]
	switch {
	case !known:
		l.index[s.ID] = len(l.steps)
		l.steps = append(l.steps, s)
	case l.steps[i] == s:
		return false
	default:
		l.steps[i] = s
	}
	return true
}
