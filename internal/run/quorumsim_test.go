package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// simDisk has the files of one simulated machine.
type simDisk struct {
	mu    sync.Mutex
	files map[string]string
}

func (d *simDisk) do(op, file, data string) (string, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	content, exists := d.files[file]
	switch op {
	case "read":
		if !exists {
			return "", nil, fs.ErrNotExist
		}
		return content, nil, nil
	case "create":
		if exists {
			return "", nil, fs.ErrExist
		}
		d.files[file] = data
	case "write":
		d.files[file] = data
	case "append":
		d.files[file] = content + data
	case "remove":
		delete(d.files, file)
	case "list":
		var names []string
		for name := range d.files {
			if path.Dir(name) == file {
				names = append(names, path.Base(name))
			}
		}
		slices.Sort(names)
		return "", names, nil
	}
	return "", nil, nil
}

// simNetwork connects simulated processes of paictl with machines.
type simNetwork struct {
	mu    sync.Mutex
	rng   *rand.Rand
	disks map[string]*simDisk
	names []string
	down  map[string]bool    // machines
	cut   map[[2]string]bool // a process does not reach a machine
	// silent is whether what is cut or down stays silent instead of refusing.
	silent bool
	calm   bool // no call fails by itself
}

func newSimNetwork(seed uint64, machines int) *simNetwork {
	n := &simNetwork{rng: rand.New(rand.NewPCG(seed, 1)), disks: map[string]*simDisk{}, down: map[string]bool{}, cut: map[[2]string]bool{}}
	for i := range machines {
		name := fmt.Sprintf("cp%d", i+1)
		n.names = append(n.names, name)
		n.disks[name] = &simDisk{files: map[string]string{}}
	}
	return n
}

// delay is how long a call takes.
func (n *simNetwork) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.calm {
		return 0
	}
	return time.Duration(n.rng.IntN(8)) * time.Millisecond
}

// simProcess is one paictl.
type simProcess struct {
	name string
	net  *simNetwork

	mu        sync.Mutex
	killed    bool
	suspended time.Time // until when
}

func (p *simProcess) electors(names []string) []Elector {
	var all []Elector
	for _, name := range names {
		all = append(all, Elector{name, &simLink{p, name}})
	}
	return all
}

func (p *simProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

func (p *simProcess) suspend(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspended = time.Now().Add(d)
}

// pause is how long the process is suspended from now on.
func (p *simProcess) pause() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.suspended), p.killed
}

// simLink is the Store that a process has of a machine. A call can be refused, lost on its
// way there, or with its result, or late. A call on the lock can even happen after its context
// has ended; one on records cannot, which is what Quorum relies on.
type simLink struct {
	process *simProcess
	machine string
}

var (
	errKilled  = errors.New("the process was killed")
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
)

func (l *simLink) call(ctx context.Context, op, file, data string) (string, []string, error) {
	n := l.process.net
	wait := func(d time.Duration) { // a suspended process does not notice its deadline
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(n.delay())
	pause, killed := l.process.pause()
	if killed {
		return "", nil, errKilled
	}
	if pause > 0 {
		time.Sleep(pause)
	}
	n.mu.Lock()
	unreachable := n.down[l.machine] || n.cut[[2]string{l.process.name, l.machine}]
	silent, fault := n.silent, n.rng.IntN(200)
	if n.calm {
		fault = 200
	}
	n.mu.Unlock()
	lock := strings.HasPrefix(file, Dir+"/lock")
	if unreachable && !silent {
		return "", nil, errRefused
	}
	if unreachable || fault == 0 {
		<-ctx.Done()
		if unreachable || !lock {
			return "", nil, ctx.Err()
		}
		wait(0) // the call happens after its end
	}
	if fault == 1 {
		return "", nil, errReset
	}
	if !lock && ctx.Err() != nil {
		return "", nil, ctx.Err()
	}
	if _, killed := l.process.pause(); killed {
		return "", nil, errKilled
	}
	content, names, err := n.disks[l.machine].do(op, file, data)
	switch {
	case fault == 2:
		return "", nil, errReset // it happened
	case fault == 3:
		<-ctx.Done()
		return "", nil, ctx.Err()
	case ctx.Err() != nil:
		return "", nil, ctx.Err()
	}
	return content, names, err
}

func (l *simLink) ReadFile(ctx context.Context, file string) ([]byte, error) {
	content, _, err := l.call(ctx, "read", file, "")
	return []byte(content), err
}

func (l *simLink) WriteFile(ctx context.Context, file string, data []byte, _ fs.FileMode) error {
	_, _, err := l.call(ctx, "write", file, string(data))
	return err
}

func (l *simLink) CreateFile(ctx context.Context, file string, data []byte, _ fs.FileMode) error {
	_, _, err := l.call(ctx, "create", file, string(data))
	return err
}

func (l *simLink) AppendFile(ctx context.Context, file string, data []byte) error {
	_, _, err := l.call(ctx, "append", file, string(data))
	return err
}

func (l *simLink) Remove(ctx context.Context, file string) error {
	_, _, err := l.call(ctx, "remove", file, "")
	return err
}

func (l *simLink) ReadDir(ctx context.Context, dir string) ([]string, error) {
	_, names, err := l.call(ctx, "list", dir, "")
	return names, err
}

// simRecords is what the records can contain: each successful write leaves one content, a
// failed one adds a possible content.
type simRecords struct {
	mu       sync.Mutex
	possible map[string][]string
}

func (r *simRecords) try(file, content string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.possible[file] = append(r.of(file), content)
}

func (r *simRecords) set(file, content string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.possible[file] = []string{content}
}

// of needs mu. A file that was never written does not exist, which is the content "".
func (r *simRecords) of(file string) []string {
	if p, ok := r.possible[file]; ok {
		return p
	}
	return []string{""}
}

func (r *simRecords) check(file, got string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := r.of(file); !slices.Contains(want, got) {
		return fmt.Errorf("%s has %q, want one of %q", file, got, want)
	}
	return nil
}
