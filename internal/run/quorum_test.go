package run

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

// threeMachines are cp1, cp2, and cp3, which vote.
func threeMachines(t *testing.T) []Elector {
	t.Helper()
	var electors []Elector
	for _, name := range []string{"cp1", "cp2", "cp3"} {
		electors = append(electors, Elector{name, runtest.Dir(t.TempDir())})
	}
	q := NewQuorum(electors, QuorumOptions{})
	l := acquire(t, q, me(t), LockOptions{})
	if err := q.ChangeElectorate(t.Context(), []string{"cp1", "cp2", "cp3"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	return electors
}

// without are the machines with some of them unreachable.
func without(electors []Elector, names ...string) []Elector {
	electors = slices.Clone(electors)
	for i := range electors {
		if slices.Contains(names, electors[i].Name) {
			electors[i].Store = nil
		}
	}
	return electors
}

func TestQuorumErrorsNameMachinesAndWhatToDo(t *testing.T) {
	t.Parallel()
	electors := threeMachines(t)
	empty := Elector{"cp3", runtest.Dir(t.TempDir())}
	for _, c := range []struct {
		name     string
		electors []Elector
		want     string
		next     string
	}{
		{"two are unreachable", without(electors, "cp2", "cp3"), "1 of 3 control-plane machines is reachable, and 2 are needed: cp2: unreachable; cp3: unreachable",
			"check that cp2 and cp3 run and that ssh to them works from this host, then run the command again"},
		{"a disk was replaced, and one is unreachable", append(without(electors[:2], "cp1"), empty),
			"1 of 3 control-plane machines is reachable, and 2 are needed: cp1: unreachable; cp3: it has no record of the control plane, as after the loss of its disk", "check that cp1 and cp3 run"},
		{"the layout lacks one", electors[:2], "the configuration is older than the cluster: control-plane machine cp3 is not in it", "run: paictl config pull"},
		{"the layout lacks one that was lost", electors[:2], "control-plane machine cp3 is not in it", "run: paictl machine replace cp3 --with MACHINE"},
		{"none is reachable", without(electors, "cp1", "cp2", "cp3"), "0 of 3 control-plane machines are reachable", "check that cp1, cp2 and cp3 run"},
		{"two clusters", []Elector{{"a", locked(t)}, {"b", locked(t)}}, "several control-plane machines have records of a cluster", "clean the others"},
		{"a new one, and the cluster is unreachable", []Elector{{"a", nil}, {"b", runtest.Dir(t.TempDir())}}, "1 of 2 control-plane machines is reachable", "check that a runs"},
	} {
		_, err := Acquire(t.Context(), NewQuorum(c.electors, QuorumOptions{}), me(t), LockOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(pai.NextOf(err), c.next) {
			t.Errorf("%s: got %v\n%s\nwant %s\n%s", c.name, err, pai.NextOf(err), c.want, c.next)
		}
	}
	if _, err := Acquire(t.Context(), electors[1].Store, me(t), LockOptions{}); pai.CodeOf(err) != pai.CodeRefused ||
		!strings.Contains(err.Error(), "the configuration is older than the cluster: its lock is on cp1, cp2 and cp3") {
		t.Errorf("one machine of three: got %v, want it refused", err)
	}
}

// locked is a machine that had a lock.
func locked(t *testing.T) Store {
	t.Helper()
	store := runtest.Dir(t.TempDir())
	if err := acquire(t, store, me(t), LockOptions{}).Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// The scheduled backup of one machine and the operations of all exclude each other.
func TestScheduledBackupOfOneElectorExcludesOperations(t *testing.T) {
	t.Parallel()
	electors := threeMachines(t)
	synctest.Test(t, func(t *testing.T) {
		backup := elsewhere("cp2")
		backup.Verb = pai.VerbScheduledBackup
		l := acquire(t, electors[1].Store, backup, LockOptions{})
		ended := false
		time.AfterFunc(40*time.Second, func() { ended = true; l.Release(t.Context()) })
		operation := acquire(t, NewQuorum(electors, QuorumOptions{}), elsewhere("desk"), LockOptions{})
		if !ended {
			t.Error("an operation did not wait for the backup")
		}
		if _, err := Acquire(t.Context(), electors[1].Store, backup, LockOptions{}); pai.CodeOf(err) != pai.CodeLocked {
			t.Errorf("a backup during an operation: got %v, want it refused", err)
		}
		if err := operation.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What less than a majority has is returned, and can be recognized as outdated.
func TestReadOfAMinorityIsStale(t *testing.T) {
	t.Parallel()
	electors := threeMachines(t)
	file := Dir + "/revisions/000001.json"
	q := NewQuorum(electors, QuorumOptions{})
	l := acquire(t, q, me(t), LockOptions{})
	if err := q.WriteFile(t.Context(), file, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		lost  []string
		stale bool
	}{{nil, false}, {[]string{"cp1"}, false}, {[]string{"cp1", "cp3"}, true}} {
		got, err := NewQuorum(without(electors, c.lost...), QuorumOptions{}).ReadFile(t.Context(), file)
		if string(got) != "1" || errors.Is(err, ErrStale) != c.stale || (err != nil) != c.stale {
			t.Errorf("without %v: got %q, %v", c.lost, got, err)
		}
		var reports []string
		q := NewQuorum(without(electors, c.lost...), QuorumOptions{Stale: func(err error) { reports = append(reports, err.Error()) }})
		for range 2 {
			if got, err := q.ReadFile(t.Context(), file); string(got) != "1" || err != nil {
				t.Errorf("without %v: got %q, %v", c.lost, got, err)
			}
		}
		if want := map[bool]int{true: 1}[c.stale]; len(reports) != want {
			t.Errorf("without %v: got the reports %q, want %d", c.lost, reports, want)
		}
	}
}

func TestOnlyTheHolderWritesRecordsThatAllMachinesHave(t *testing.T) {
	t.Parallel()
	q := NewQuorum(threeMachines(t), QuorumOptions{})
	record, other := Dir+"/operations/1.json", Dir+"/snapshots/a.db"
	if err := q.WriteFile(t.Context(), record, nil, 0o600); err == nil || !strings.Contains(err.Error(), "the lock of the cluster is not held") {
		t.Errorf("without the lock: got %v, want it refused", err)
	}
	l := acquire(t, q, me(t), LockOptions{})
	if err := q.WriteFile(t.Context(), other, nil, 0o600); err == nil || !strings.Contains(err.Error(), "control-plane machines do not share it") {
		t.Errorf("a file of one machine: got %v, want it refused", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// silentWrites is a machine that is connected and not responding.
type silentWrites struct{ Store }

func (silentWrites) WriteFile(ctx context.Context, _ string, _ []byte, _ fs.FileMode) error {
	<-ctx.Done()
	return ctx.Err()
}

// A machine that stays silent blocks one write for the limit, and no later one; the record is
// on the others then, and on it as soon as it responds.
func TestSilentElectorBlocksOneWriteForTheLimit(t *testing.T) {
	t.Parallel()
	electors := threeMachines(t)
	synctest.Test(t, func(t *testing.T) {
		broken := slices.Clone(electors)
		broken[2].Store = silentWrites{electors[2].Store}
		q, n := NewQuorum(broken, QuorumOptions{}), &notices{}
		q.o.Notify = n.notify
		l := acquire(t, q, me(t), LockOptions{})
		for i, want := range []time.Duration{10 * time.Second, 0} {
			began := time.Now()
			if err := q.WriteFile(t.Context(), Dir+"/operations/1.json", []byte{byte('0' + i)}, 0o600); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began).Round(time.Second); took > want+time.Second {
				t.Errorf("write %d took %s, want at most %s", i, took, want)
			}
		}
		if !strings.Contains(n.text(), "the records on cp3 are outdated until it is reachable again: cp3: not responding within 10s") {
			t.Errorf("got the notices %q", n.text())
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if l, err := Acquire(t.Context(), NewQuorum(electors, QuorumOptions{}), me(t), LockOptions{}); err != nil {
			t.Error(err)
		} else if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if data, err := electors[2].Store.ReadFile(t.Context(), Dir+"/operations/1.json"); err != nil || string(data) != "1" {
			t.Errorf("cp3 has %q, %v", data, err)
		}
	})
}

// A Quorum of one machine behaves like the machine, and leaves the same records.
func TestQuorumOfOneBehavesLikeTheStore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ctx, net := t.Context(), newSimNetwork(1, 2)
		net.calm = true
		machines := (&simProcess{name: "p", net: net}).electors(net.names)
		plain := machines[1].Store
		q := NewQuorum(machines[:1], QuorumOptions{})
		l := acquire(t, q, me(t), LockOptions{})
		defer func() {
			if err := l.Release(ctx); err != nil {
				rt.Error(err)
			}
		}()
		for i := range rapid.IntRange(1, 12).Draw(rt, "calls") {
			file := rapid.SampledFrom(simFiles).Draw(rt, "file")
			data := []byte{byte('a' + i)}
			call := rapid.IntRange(0, 5).Draw(rt, "call")
			do := func(s Store) (string, error) {
				switch call {
				case 0:
					return "", s.WriteFile(ctx, file, data, 0o600)
				case 1:
					return "", s.CreateFile(ctx, file, data, 0o600)
				case 2:
					return "", s.AppendFile(ctx, file, data)
				case 3:
					return "", s.Remove(ctx, file)
				case 4:
					names, err := s.ReadDir(ctx, Dir+"/operations")
					return strings.Join(names, " "), err
				default:
					content, err := s.ReadFile(ctx, file)
					return string(content), err
				}
			}
			got, gotErr := do(q)
			want, wantErr := do(plain)
			if got != want || errors.Is(gotErr, fs.ErrExist) != errors.Is(wantErr, fs.ErrExist) ||
				errors.Is(gotErr, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) || (gotErr == nil) != (wantErr == nil) {
				rt.Fatalf("call %d: got %q, %v, want %q, %v", call, got, gotErr, want, wantErr)
			}
		}
	})
}
