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
	"time"

	"pai.dev/pai/internal/poll"
)

// encode is the content of the file of a view.
func (v view) encode() ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode which machines are in sync: %w", err)
	}
	return append(data, '\n'), nil
}

// begin makes the records of a new holder current: all machines that answer get what one has
// that is in sync, and a majority gets the view of this holder. It completes a change of the
// electorate that another holder started. From then on, machines that come back are updated.
func (q *Quorum) begin(ctx context.Context, l *Lock) error {
	err := q.exclusive(ctx, func(ctx context.Context) error {
		v, err := q.settle(ctx)
		if err != nil {
			return err
		}
		q.adoptView(v)
		if err := q.publish(ctx); err != nil {
			return err
		}
		q.removeOlderViews(ctx)
		return q.completeChange(ctx)
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.rejoinLoop(ctx, l.o.Heartbeat)
	}()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop = func() { cancel(); <-done }
	return nil
}

// settle makes the copies of all machines that answer equal, and returns the view with these.
func (q *Quorum) settle(ctx context.Context) (view, error) {
	q.mu.Lock()
	s := q.base
	q.mu.Unlock()
	v, failed := s.view.clone(), map[string]error{}
	for _, source := range s.view.InSync {
		if _, ok := s.looks[source]; !ok {
			continue
		}
		v.InSync = []string{source}
		for _, name := range s.view.members() {
			_, reached := s.looks[name]
			current := s.view.Settled && slices.Contains(s.view.InSync, name)
			switch {
			case name == source || !reached:
			case current:
				v.InSync = append(v.InSync, name)
			default:
				if err := q.copyRecords(ctx, source, name); err != nil {
					failed[name] = err
					continue
				}
				v.InSync = append(v.InSync, name)
			}
		}
		if v.agreed(listed(v.InSync)) {
			v.Settled = false
			return v, nil
		}
	}
	for _, name := range s.view.members() {
		if _, ok := s.looks[name]; !ok {
			failed[name] = errors.Join(s.failed[name])
		}
		if failed[name] == nil {
			delete(failed, name)
		}
	}
	return v, q.tooFewInSync(v, failed)
}

// removeOlderViews removes what the views of previous holders left where the new one is.
func (q *Quorum) removeOlderViews(ctx context.Context) {
	q.mu.Lock()
	s, v := q.base, q.view.clone()
	q.mu.Unlock()
	q.ask(ctx, v.members(), v.agreed, func(ctx context.Context, e Elector) error {
		now, err := lookAt(ctx, e.Store)
		if err != nil || now.view == nil || now.view.id != v.id {
			return err
		}
		for _, id := range s.looks[e.Name].views {
			if err := e.Store.Remove(ctx, id.file()); err != nil {
				return err // it has no effect
			}
		}
		return nil
	})
}

// copyWidth is how many records are compared at a time.
const copyWidth = 4

// copyRecords makes the records of one machine those of another.
func (q *Quorum) copyRecords(ctx context.Context, from, to string) error {
	machines := q.find([]string{from, to})
	for i, e := range machines {
		if e.Store == nil {
			return fmt.Errorf("%s: %w", e.Name, q.absence(e.Name))
		}
		machines[i].Store = limited{e.Store, q.o.CallLimit}
	}
	source, target := machines[0].Store, machines[1].Store
	files := slices.Clone(sharedFiles)
	for _, dir := range sharedDirs {
		for _, s := range []Store{source, target} {
			names, err := s.ReadDir(ctx, dir)
			if err != nil {
				return fmt.Errorf("list records: %w", err)
			}
			for _, name := range names {
				if file := path.Join(dir, name); isRecord(name) && !slices.Contains(files, file) {
					files = append(files, file)
				}
			}
		}
	}
	return parallel(copyWidth, files, func(file string) error {
		if err := copyRecord(ctx, source, target, file); err != nil {
			return fmt.Errorf("copy %s from %s to %s: %w", file, from, to, err)
		}
		return nil
	})
}

// isRecord reports whether PAI writes files with a name. An operator can have put others there.
func isRecord(name string) bool {
	return strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "applied")
}

func copyRecord(ctx context.Context, from, to Store, file string) error {
	want, err := from.ReadFile(ctx, file)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	has, err := to.ReadFile(ctx, file)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case missing && err == nil:
		return to.Remove(ctx, file)
	case missing, err == nil && bytes.Equal(want, has):
		return nil
	default:
		return to.WriteFile(ctx, file, want, modeOf(file))
	}
}

// rejoinLoop updates machines that are not in sync, as soon as they answer.
func (q *Quorum) rejoinLoop(ctx context.Context, every time.Duration) {
	for poll.Sleep(ctx, every) == nil {
		_, v, _ := q.holder()
		for _, e := range q.find(v.members()) {
			if e.Store == nil || slices.Contains(v.InSync, e.Name) {
				continue
			}
			if err := q.rejoin(ctx, v.InSync[0], e.Name); err == nil {
				q.o.Notify("the records on %s are up to date", e.Name)
			}
		}
	}
}

// rejoin updates a machine, most of it while others write.
func (q *Quorum) rejoin(ctx context.Context, source, name string) error {
	if err := q.copyRecords(ctx, source, name); err != nil {
		return err
	}
	return q.exclusive(ctx, func(ctx context.Context) error {
		_, v, held := q.holder()
		if !held || !slices.Contains(v.InSync, source) || slices.Contains(v.InSync, name) || !slices.Contains(v.members(), name) {
			return errors.New("the machines in sync changed")
		}
		if err := q.copyRecords(ctx, source, name); err != nil {
			return err
		}
		v.InSync = append(v.InSync, name)
		q.adoptView(v)
		return q.publish(ctx)
	})
}

// end says that the holder writes nothing more. The next one compares the copies unless all
// writes succeeded.
func (q *Quorum) end(ctx context.Context) {
	q.mu.Lock()
	stop := q.stop
	q.stop = func() {}
	q.mu.Unlock()
	stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.o.CallLimit)
	defer cancel()
	_ = q.exclusive(ctx, func(ctx context.Context) error {
		_, v, held := q.holder()
		q.mu.Lock()
		settled := held && !q.unsettled && !q.unpublished
		q.mu.Unlock()
		if !settled {
			return nil
		}
		v.Settled = true
		q.adoptView(v)
		return q.publish(ctx) // without it, the next holder compares
	})
}

// detach drops the lock: from now on, this store only reads.
func (q *Quorum) detach(l *Lock) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lock == l {
		q.lock, q.readAt = nil, time.Time{}
	}
}

// limited is a Store with a limit for each call.
type limited struct {
	Store
	limit time.Duration
}

func (s limited) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("not responding within %s", s.limit))
}

func (s limited) ReadFile(ctx context.Context, file string) ([]byte, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.Store.ReadFile(ctx, file)
}

func (s limited) WriteFile(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.Store.WriteFile(ctx, file, data, mode)
}

func (s limited) Remove(ctx context.Context, file string) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.Store.Remove(ctx, file)
}

func (s limited) ReadDir(ctx context.Context, dir string) ([]string, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.Store.ReadDir(ctx, dir)
}
