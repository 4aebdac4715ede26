package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/inspecttest"
)

// namedLock is a lock that names earlier holders.
type namedLock struct{ stale, ended []string }

func (l *namedLock) Stale() []string            { return l.stale }
func (l *namedLock) StaleEnded(tokens []string) { l.ended = tokens }

// recordingHost is a machine that records the scripts that it would run.
type recordingHost struct {
	machine.Host
	name string
	err  error

	mu      sync.Mutex
	scripts []string
}

func (h *recordingHost) Name() string { return h.name }

func (h *recordingHost) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scripts = append(h.scripts, c.Script)
	return machine.Output{}, h.err
}

// The lock names holders whose commands might run until every machine was reached.
func TestStaleCommandsEndOnEveryMachine(t *testing.T) {
	t.Parallel()
	const token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	still := errors.New("still running: /proc/7/cmdline")
	for _, c := range []struct {
		name    string
		reached []string
		err     error
		stale   []string
		ended   bool
	}{
		{"nothing is left", []string{"pai-1", "pai-2"}, nil, nil, false},
		{"every machine is reached", []string{"pai-1", "pai-2"}, nil, []string{token}, true},
		{"a machine is not reached", []string{"pai-1"}, nil, []string{token}, false},
		{"a command does not end", []string{"pai-1", "pai-2"}, still, []string{token}, false},
	} {
		s := &Session{Config: &config.Config{}, Hosts: map[string]machine.Host{}}
		s.Config.Layout.MachineList = []config.Machine{{Hostname: "pai-1"}, {Hostname: "pai-2"}}
		var hosts []*recordingHost
		for _, name := range c.reached {
			hosts = append(hosts, &recordingHost{name: name, err: c.err})
			s.Hosts[name] = hosts[len(hosts)-1]
		}
		lock := &namedLock{stale: c.stale}
		if err := s.endStale(t.Context(), lock); !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.err)
		}
		if got := slices.Equal(lock.ended, c.stale) && lock.ended != nil; got != c.ended {
			t.Errorf("%s: got the ended holders %v", c.name, lock.ended)
		}
		for _, h := range hosts {
			if asked := len(h.scripts) == 1 && strings.Contains(h.scripts[0], token[1:]); asked != (c.stale != nil) {
				t.Errorf("%s: %s ran %q", c.name, h.name, h.scripts)
			}
		}
	}
}

// An operation that lost its connection to a machine releases the lock. The next one ends
// what might still run there.
func TestNextOperationEndsWhatALostConnectionLeft(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "pai-1")
	s := &Session{Config: &config.Config{}, Hosts: map[string]machine.Host{"pai-1": h}}
	s.Config.Layout.MachineList = []config.Machine{{Hostname: "pai-1", Role: config.RoleControlPlane}}
	locked := func(do func(ctx context.Context)) (token string) {
		t.Helper()
		err := s.Locked(t.Context(), pai.VerbUpgrade, run.LockOptions{}, func(ctx context.Context, l *run.Lock) error {
			token = l.Token()
			do(ctx)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ends := func(token string) bool { return h.Ran("'-[" + token[:1] + "]" + token[1:] + "'") }
	quiet := locked(func(context.Context) {})
	lost := locked(fence.Unended)
	if ends(quiet) {
		t.Error("commands are ended that none was left of")
	}
	locked(func(context.Context) {
		if !ends(lost) {
			t.Errorf("got %q, want the commands of %s ended before the next operation", h.Scripts, lost)
		}
	})
}
