package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Elector is a control-plane machine that votes on the lock and has a copy of the records.
type Elector struct {
	Name  string
	Store Store // nil if the machine is unreachable
}

// QuorumOptions configures a Quorum; the zero value has every default.
type QuorumOptions struct {
	// CallLimit is how long one elector has for one call, 10 s by default.
	CallLimit time.Duration
	// Notify reports that the copy of an elector is outdated, or up to date again.
	Notify func(format string, args ...any)
	// Stale is called with the ErrStale of a read, once for each text. Without it, the
	// read returns the error together with the content.
	Stale func(error)
}

// Quorum is a Store with a copy of every record on several control-plane machines. What it
// stored survives the loss of any minority of them, and the lock is held at a majority.
//
// A view names the electorate, the machines that vote, and which of them are in sync:
// these have everything that was stored. The holder of the lock writes to all machines that
// are in sync. One that fails is first taken out of the view, at a majority, before the
// write counts. At least a majority is always in sync, so any majority has one that is.
// Only the holder of the lock writes. Others read from a machine that is in sync.
type Quorum struct {
	electors []Elector
	o        QuorumOptions
	writing  chan struct{} // holds a value while one call changes records or the view

	mu          sync.Mutex
	lock        *Lock                  // held through this store; nil if it is not
	view        view                   // of the holder
	unpublished bool                   // a majority might not have the view
	unsettled   bool                   // a write failed: copies in sync can differ
	base        survey                 // of the acquisition
	avoid       map[string]bool        // the last read failed there
	void        map[string]time.Time   // holders that expired, by token, with their last heartbeat
	beats       map[string][]time.Time // heartbeats that were seen, by token
	read        survey                 // the last one of a reader without the lock
	readAt      time.Time
	reported    map[string]bool // texts that Stale got
	stop        func()          // ends rejoinLoop and waits for it
}

// NewQuorum returns the records of several control-plane machines, in the order of
// preference: without any view, the first is the cluster.
func NewQuorum(electors []Elector, o QuorumOptions) *Quorum {
	if o.CallLimit == 0 {
		o.CallLimit = 10 * time.Second
	}
	if o.Notify == nil {
		o.Notify = func(string, ...any) {}
	}
	return &Quorum{electors: slices.Clone(electors), o: o, writing: make(chan struct{}, 1),
		avoid: map[string]bool{}, void: map[string]time.Time{}, beats: map[string][]time.Time{}, reported: map[string]bool{}, stop: func() {}}
}

// shared are the records that all control-plane machines have, with their modes: in
// directories, and single files. Everything else in Dir belongs to one machine.
var (
	sharedDirs  = []string{path.Join(Dir, "operations"), path.Join(Dir, "revisions"), path.Join(Dir, "witness")}
	sharedFiles = []string{layout.ClusterRecordFile, layout.MaintenanceFile}
)

// modeOf is the mode of a shared record.
func modeOf(file string) fs.FileMode {
	if slices.Contains(sharedFiles, file) {
		return 0o644
	}
	return 0o600
}

func isShared(file string) bool {
	return slices.Contains(sharedDirs, path.Dir(file)) || slices.Contains(sharedFiles, file)
}

// ReadFile reads a record from a machine that is in sync. If less than a majority of the
// electorate answers, it is from the newest copy, and the error wraps ErrStale.
func (q *Quorum) ReadFile(ctx context.Context, file string) ([]byte, error) {
	return readFrom(ctx, q, func(ctx context.Context, s Store) ([]byte, error) { return s.ReadFile(ctx, file) })
}

// ReadDir lists a directory of records, as ReadFile reads one.
func (q *Quorum) ReadDir(ctx context.Context, dir string) ([]string, error) {
	return readFrom(ctx, q, func(ctx context.Context, s Store) ([]string, error) { return s.ReadDir(ctx, dir) })
}

// WriteFile replaces a record on all machines that are in sync.
func (q *Quorum) WriteFile(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	return q.change(ctx, "write", file, func(ctx context.Context) error {
		return q.everywhere(ctx, func(ctx context.Context, e Elector) error { return e.Store.WriteFile(ctx, file, data, mode) })
	})
}

// AppendFile adds to a record on all machines that are in sync. After an error, the copies can
// differ until the record is replaced.
func (q *Quorum) AppendFile(ctx context.Context, file string, data []byte) error {
	return q.change(ctx, "append to", file, func(ctx context.Context) error {
		return q.everywhere(ctx, func(ctx context.Context, e Elector) error { return e.Store.AppendFile(ctx, file, data) })
	})
}

// Remove removes a record from all machines that are in sync.
func (q *Quorum) Remove(ctx context.Context, file string) error {
	return q.change(ctx, "remove", file, func(ctx context.Context) error {
		return q.everywhere(ctx, func(ctx context.Context, e Elector) error { return e.Store.Remove(ctx, file) })
	})
}

// CreateFile creates a record. One machine that is in sync decides whether it exists; the
// others get the same.
func (q *Quorum) CreateFile(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	return q.change(ctx, "create", file, func(ctx context.Context) error {
		for {
			first := q.inSync()[:1]
			_, failed := q.ask(ctx, first, nil, func(ctx context.Context, e Elector) error { return e.Store.CreateFile(ctx, file, data, mode) })
			if err := failed[first[0]]; errors.Is(err, fs.ErrExist) {
				return err
			}
			if len(failed) == 0 {
				return q.everywhere(ctx, func(ctx context.Context, e Elector) error { return e.Store.WriteFile(ctx, file, data, mode) })
			}
			if err := q.drop(ctx, failed); err != nil {
				return err
			}
		}
	})
}

// inSync are the machines that a write of the holder goes to.
func (q *Quorum) inSync() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.view.InSync)
}

// find returns the electors with names.
func (q *Quorum) find(names []string) []Elector {
	found := make([]Elector, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(q.electors, func(e Elector) bool { return e.Name == name })
		if i < 0 {
			found = append(found, Elector{Name: name})
		} else {
			found = append(found, q.electors[i])
		}
	}
	return found
}

// names are the electors of the configuration.
func (q *Quorum) names() []string {
	var names []string
	for _, e := range q.electors {
		names = append(names, e.Name)
	}
	return names
}

// holder is the lock that is held through this store, with its view.
func (q *Quorum) holder() (*Lock, view, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lock, q.view.clone(), q.lock != nil
}

// notShared is the error for a record that not every machine has: it would be lost with one.
func notShared(verb, file string) error {
	return pai.Errorf(pai.CodeFailed, "", "%s file %q: control-plane machines do not share it", verb, file)
}

// notHeld is the error of a write without the lock.
func notHeld(verb, file string) error {
	return fmt.Errorf("%s file %q: the lock of the cluster is not held", verb, file)
}
