package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// simulation is one history: operators that take the lock, write, and change the electorate,
// and faults meanwhile.
type simulation struct {
	net     *simNetwork
	records simRecords
	changes bool // of the electorate

	mu       sync.Mutex
	problems []string
	locks    map[string]*Lock // that operators have and did not release
	held     int              // how often the lock was held
	written  int
	changed  int
}

func (s *simulation) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// believers are the operators that trust their lock now.
func (s *simulation) believers() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.locks {
		if l.Err() == nil {
			names = append(names, name)
		}
	}
	return names
}

func (s *simulation) setLock(name string, l *Lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == nil {
		delete(s.locks, name)
	} else {
		s.locks[name] = l
		s.held++
	}
}

// simLimits are the times of the tests; the ratio is that of the defaults.
func simLimits() (QuorumOptions, LockOptions) {
	return QuorumOptions{CallLimit: 400 * time.Millisecond},
		LockOptions{Heartbeat: 400 * time.Millisecond, LeaseDuration: 1200 * time.Millisecond}
}

// operator takes the lock again and again, as a new process after it was killed.
func (s *simulation) operator(id int, seed uint64, until time.Time) {
	rng := rand.New(rand.NewPCG(seed, uint64(id)))
	p := &simProcess{name: fmt.Sprint("p", id), net: s.net}
	qo, lo := simLimits()
	q := NewQuorum(p.electors(s.net.names), qo)
	for turn := 0; time.Now().Before(until); turn++ {
		name := fmt.Sprintf("%d-%d", id, turn)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if rng.IntN(4) == 0 {
			time.AfterFunc(time.Duration(rng.IntN(4000))*time.Millisecond, p.kill)
		}
		if rng.IntN(3) == 0 {
			pause := time.Duration(rng.IntN(3000)) * time.Millisecond
			time.AfterFunc(time.Duration(rng.IntN(3000))*time.Millisecond, func() { p.suspend(pause) })
		}
		l, err := Acquire(ctx, q, elsewhere(name), lo)
		if err == nil {
			s.setLock(name, l)
			s.work(ctx, q, l, name, rng)
			// While it is released, it is held or not.
			s.setLock(name, nil)
			if _, killed := p.pause(); !killed {
				_ = l.Release(ctx)
			}
			l.stop()
			<-l.done
			q.stop()
		}
		cancel()
		if _, killed := p.pause(); killed {
			p = &simProcess{name: p.name, net: s.net}
			q = NewQuorum(p.electors(s.net.names), qo)
		}
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
}

var simFiles = []string{Dir + "/operations/a.json", Dir + "/operations/a.1.log", Dir + "/revisions/applied"}

// work checks what the holder finds, and writes.
func (s *simulation) work(ctx context.Context, q *Quorum, l *Lock, name string, rng *rand.Rand) {
	now := map[string]string{}
	for _, file := range simFiles {
		content, err := readText(ctx, q, file)
		if err != nil || l.Err() != nil {
			return
		}
		if err := s.records.check(file, content); err != nil {
			s.fail("%s (lock %d): %v", name, l.number, err)
		}
		s.records.set(file, content)
		now[file] = content
	}
	broken := map[string]bool{} // a write failed, so nothing is appended
	for i := range rng.IntN(8) {
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
		file := simFiles[rng.IntN(len(simFiles))]
		data := fmt.Sprintf("%s.%d ", name, i)
		var err error
		next := data
		switch kind := rng.IntN(4); {
		case s.changes && rng.IntN(4) == 0:
			electors := slices.Clone(s.net.names)
			rng.Shuffle(len(electors), func(i, j int) { electors[i], electors[j] = electors[j], electors[i] })
			if err := q.ChangeElectorate(ctx, electors[:1+rng.IntN(len(electors))]); err == nil {
				s.mu.Lock()
				s.changed++
				s.mu.Unlock()
			}
			continue
		case kind == 0 && now[file] != "":
			next = ""
			s.records.try(file, next)
			err = q.Remove(ctx, file)
		case kind == 1 && !broken[file] && len(now[file]) < 100:
			next = now[file] + data
			s.records.try(file, next)
			err = q.AppendFile(ctx, file, []byte(data))
		case kind == 2:
			s.records.try(file, next)
			if err = q.CreateFile(ctx, file, []byte(data), 0o600); errors.Is(err, fs.ErrExist) {
				continue
			}
		default:
			s.records.try(file, next)
			err = q.WriteFile(ctx, file, []byte(data), 0o600)
		}
		if broken[file] = err != nil; err != nil && l.Err() != nil {
			return
		}
		if err == nil {
			if l.Err() == nil {
				s.records.set(file, next)
			}
			now[file] = next
			s.mu.Lock()
			s.written++
			s.mu.Unlock()
		}
	}
}

func readText(ctx context.Context, s Store, file string) (string, error) {
	data, err := s.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// faults cuts and heals.
func (s *simulation) faults(seed uint64, until time.Time) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for time.Now().Before(until) {
		time.Sleep(time.Duration(100+rng.IntN(1500)) * time.Millisecond)
		s.net.mu.Lock()
		s.net.silent = rng.IntN(2) == 0
		machine := s.net.names[rng.IntN(len(s.net.names))]
		switch rng.IntN(5) {
		case 0:
			s.net.down[machine] = true
		case 1, 2:
			s.net.down, s.net.cut = map[string]bool{}, map[[2]string]bool{}
		case 3:
			s.net.cut[[2]string{fmt.Sprint("p", rng.IntN(3)), machine}] = true
		case 4: // partition
			for _, m := range s.net.names {
				for p := range 3 {
					s.net.cut[[2]string{fmt.Sprint("p", p), m}] = rng.IntN(2) == 0
				}
			}
		}
		s.net.mu.Unlock()
	}
}

// newestView is the newest view on any disk.
func (n *simNetwork) newestView() view {
	newest := alone(n.names[0])
	for _, name := range n.names {
		for file, data := range n.disks[name].files {
			id, ok := viewIDOf(file[len(Dir+"/lock/"):][:min(21, len(file)-len(Dir+"/lock/"))])
			var v view
			if ok && newest.id.before(id) && json.Unmarshal([]byte(data), &v) == nil {
				v.id = id
				newest = v
			}
		}
	}
	return newest
}

// last loses a minority for ever; the next operator must get the lock and find everything.
func (s *simulation) last(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	s.net.mu.Lock()
	s.net.down, s.net.cut, s.net.calm = map[string]bool{}, map[[2]string]bool{}, true
	s.net.mu.Unlock()
	v := s.net.newestView()
	members := v.members()
	rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for _, m := range members {
		s.net.down[m] = true
		if !v.agreed(func(name string) bool { return !s.net.down[name] }) {
			s.net.down[m] = false
		}
	}
	p := &simProcess{name: "last", net: s.net}
	qo, lo := simLimits()
	q := NewQuorum(p.electors(s.net.names), qo)
	var err error
	for range 10 { // single calls still fail
		var l *Lock
		if l, err = Acquire(context.Background(), q, elsewhere("last"), lo); err != nil {
			continue
		}
		for _, file := range simFiles {
			content, readErr := readText(context.Background(), q, file)
			if readErr != nil {
				s.fail("last operator: %v", readErr)
			} else if err := s.records.check(file, content); err != nil {
				s.fail("last operator: %v", err)
			}
		}
		l.Release(context.Background())
		l.stop()
		<-l.done
		q.stop()
		return
	}
	s.fail("the last operator does not get the lock with %v down of %v: %v", s.net.down, v, err)
}

// simulate runs one history.
func simulate(t *testing.T, seed uint64, machines int, changes bool) *simulation {
	s := &simulation{net: newSimNetwork(seed, machines), records: simRecords{possible: map[string][]string{}}, changes: changes, locks: map[string]*Lock{}}
	synctest.Test(t, func(t *testing.T) {
		p := &simProcess{name: "first", net: s.net}
		qo, lo := simLimits()
		for made := false; !made; {
			q := NewQuorum(p.electors(s.net.names), qo)
			l, err := Acquire(context.Background(), q, elsewhere("first"), lo)
			if err != nil {
				continue
			}
			made = q.ChangeElectorate(context.Background(), s.net.names) == nil
			l.Release(context.Background())
			l.stop()
			<-l.done
			q.stop()
		}
		until := time.Now().Add(25 * time.Second)
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() { s.operator(i, seed, until) })
		}
		all.Go(func() { s.faults(seed, until) })
		ended := make(chan struct{})
		go func() { all.Wait(); close(ended) }()
		for running := true; running; {
			select {
			case <-ended:
				running = false
			case <-time.After(20 * time.Millisecond):
				if names := s.believers(); len(names) > 1 {
					s.fail("at the same time, %v hold the lock", names)
				}
			}
		}
		s.last(seed)
		time.Sleep(time.Minute) // calls that are late
	})
	return s
}

// In any history, never two hold the lock at the same time, every holder finds what was written
// before, and after a minority is lost, the next operator gets the lock and finds everything.
func TestQuorumOfAnyHistory(t *testing.T) {
	t.Parallel()
	var held, written, changed int
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		machines := rapid.SampledFrom([]int{3, 3, 5}).Draw(rt, "machines")
		changes := rapid.Bool().Draw(rt, "the electorate changes")
		s := simulate(t, seed, machines, changes)
		held, written, changed = held+s.held, written+s.written, changed+s.changed
		if len(s.problems) > 0 {
			rt.Fatal(s.problems[0])
		}
	})
	if held < 100 || written < 100 || changed < 10 {
		t.Errorf("the lock was held %d times, with %d writes and %d electorates: that proves nothing", held, written, changed)
	}
	t.Logf("the lock was held %d times, with %d writes and %d electorates", held, written, changed)
}
