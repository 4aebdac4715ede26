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

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

// An operation waits for a backup that the machine makes, over its heartbeats, and not
// for ever. It does not wait for another operation.
func TestAcquireWaitsForAScheduledBackup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		verb  pai.Verb
		takes time.Duration
		ok    bool
	}{
		{"a backup of minutes", pai.VerbScheduledBackup, 4 * time.Minute, true},
		{"a backup that uses its limit", pai.VerbScheduledBackup, BackupLimit + time.Minute, true},
		{"a backup that does not end", pai.VerbScheduledBackup, 30 * time.Minute, false},
		{"an upgrade", pai.VerbUpgrade, 4 * time.Minute, false},
		{"a backup by an operator", pai.VerbBackup, 4 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, n := runtest.Dir(t.TempDir()), &notices{}
				machine := elsewhere("pai-1")
				machine.Verb = c.verb
				held := acquire(t, store, machine, LockOptions{})
				ended := make(chan error, 1)
				go func() {
					time.Sleep(c.takes)
					ended <- held.Release(context.Background())
				}()
				began := time.Now()
				l, err := Acquire(t.Context(), store, elsewhere("desk-1"), LockOptions{Notify: n.notify})
				if c.ok && err != nil || !c.ok && pai.CodeOf(err) != pai.CodeLocked {
					t.Errorf("got %v after %s, want the lock: %t", err, time.Since(began), c.ok)
				}
				if took := time.Since(began); c.ok && took > c.takes+10*time.Second || took > backupWait+time.Minute {
					t.Errorf("it took %s", took)
				}
				if waited := strings.Contains(n.text(), "makes a backup"); waited != (c.verb == pai.VerbScheduledBackup) {
					t.Errorf("got the notices %q", n.text())
				}
				if l != nil {
					if err := l.Release(context.Background()); err != nil {
						t.Error(err)
					}
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A program on the machine sees the files of paictl, and the other way round.
func TestLocalStoreIsThatOfTheMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, stores := range [][2]Store{{Local(dir), runtest.Dir(dir)}, {runtest.Dir(dir), Local(dir)}} {
		here, there, file := stores[0], stores[1], "/a/"+map[bool]string{true: "x", false: "y"}[stores[0] == Store(Local(dir))]
		ctx := t.Context()
		if err := here.CreateFile(ctx, file, []byte("1"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := there.CreateFile(ctx, file, nil, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v of a file that exists", err)
		}
		err := errors.Join(here.WriteFile(ctx, file, []byte("2"), 0o600), there.AppendFile(ctx, file, []byte("3")))
		data, readErr := here.ReadFile(ctx, file)
		if err = errors.Join(err, readErr); err != nil || string(data) != "23" {
			t.Errorf("got %q, %v", data, err)
		}
		names, err := here.ReadDir(ctx, "/a")
		if err != nil || !slices.Contains(names, file[3:]) {
			t.Errorf("got %v, %v", names, err)
		}
		if err := errors.Join(here.Remove(ctx, file), here.Remove(ctx, file)); err != nil {
			t.Error(err)
		}
		if _, err := here.ReadFile(ctx, file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v of a file that was removed", err)
		}
		if names, err := here.ReadDir(ctx, "/none"); err != nil || len(names) > 0 {
			t.Errorf("got %v, %v of a directory that does not exist", names, err)
		}
	}
}
