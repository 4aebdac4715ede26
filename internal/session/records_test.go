package session

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/inspecttest"
)

// controlPlanes is a session with control-plane machines cp1, cp2, and so on.
func controlPlanes(t *testing.T, hosts ...machine.Host) *Session {
	t.Helper()
	s := &Session{Config: &config.Config{}, Hosts: map[string]machine.Host{}, Progressf: t.Logf, Version: "v0.11"}
	for _, h := range hosts {
		s.Hosts[h.Name()] = h
		s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, config.Machine{Hostname: h.Name(), Role: config.RoleControlPlane})
	}
	return s
}

func TestStoreOfOneControlPlaneIsTheMachine(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "cp1")
	if store, err := controlPlanes(t, h).Store(); err != nil || store != run.Store(h) {
		t.Errorf("got %v, %v, want the machine", store, err)
	}
}

// Lock, journal, and revisions of several control-plane machines survive the loss of one, and
// a configuration with one of them has no lock.
func TestRecordsOfSeveralControlPlanesSurviveTheLossOfOne(t *testing.T) {
	t.Parallel()
	h1, h2, h3 := inspecttest.NewHost(t, "cp1"), inspecttest.NewHost(t, "cp2"), inspecttest.NewHost(t, "cp3")
	s := controlPlanes(t, h1, h2, h3)
	err := s.Locked(t.Context(), pai.VerbBoot, run.LockOptions{}, func(ctx context.Context, _ *run.Lock) error {
		if err := s.GrowElectorate(ctx); err != nil {
			return err
		}
		journal, err := s.Journal()
		if err != nil {
			return err
		}
		entry, err := journal.Begin(ctx, pai.Operation{Verb: pai.VerbBoot})
		if err != nil {
			return err
		}
		revisions, err := s.Revisions()
		if err != nil {
			return err
		}
		_, err = revisions.Add(ctx, 0, "ann", "first", map[string][]byte{"layout.yaml": nil, "services-configuration.yaml": nil, "kubernetes-configuration.yaml": nil})
		return errors.Join(err, entry.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	after := controlPlanes(t, h1, h2, h3)
	delete(after.Hosts, "cp1")
	history, err := after.History(t.Context())
	if err != nil || len(history) != 1 || history[0].Outcome != pai.OutcomeSucceeded {
		t.Errorf("without cp1: got %v, %v, want the operation", history, err)
	}
	revisions, err := after.Revisions()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := revisions.Newest(t.Context()); err != nil || r == nil || r.Number != 1 {
		t.Errorf("without cp1: got revision %v, %v, want 1", r, err)
	}
	older := controlPlanes(t, h3)
	err = older.Locked(t.Context(), pai.VerbPushConfig, run.LockOptions{}, func(context.Context, *run.Lock) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the configuration is older than the cluster") {
		t.Errorf("one of three control-plane machines: got %v, want the configuration refused", err)
	}
}

// Until the machines that a layout names as further control-plane machines are booted, they
// have no vote: while they are off, the configuration can be pushed, and the lock is where it was.
func TestNewControlPlanesVoteWhenTheyAreBooted(t *testing.T) {
	t.Parallel()
	h1, h2, h3 := inspecttest.NewHost(t, "cp1"), inspecttest.NewHost(t, "cp2"), inspecttest.NewHost(t, "cp3")
	nothing := func(context.Context, *run.Lock) error { return nil }
	one := controlPlanes(t, h1)
	if err := one.Locked(t.Context(), pai.VerbBoot, run.LockOptions{}, nothing); err != nil {
		t.Fatal(err)
	}
	grown := controlPlanes(t, h1, h2, h3)
	delete(grown.Hosts, "cp2")
	delete(grown.Hosts, "cp3")
	if err := grown.Locked(t.Context(), pai.VerbPushConfig, run.LockOptions{}, nothing); err != nil {
		t.Errorf("a push while the new machines are off: %v", err)
	}
	grow := func(ctx context.Context, _ *run.Lock) error { return grown.GrowElectorate(ctx) }
	if err := grown.Locked(t.Context(), pai.VerbBoot, run.LockOptions{}, grow); err == nil {
		t.Error("a boot while the new machines are off: got no error")
	}
	if err := one.Locked(t.Context(), pai.VerbPushConfig, run.LockOptions{}, nothing); err != nil {
		t.Errorf("with the layout of one machine: %v", err)
	}
}

// A configuration without a lost machine has the lock if it names that one, and then the others
// vote without it.
func TestLostMachineLeavesTheElectorate(t *testing.T) {
	t.Parallel()
	h1, h2, h3, h4 := inspecttest.NewHost(t, "cp1"), inspecttest.NewHost(t, "cp2"), inspecttest.NewHost(t, "cp3"), inspecttest.NewHost(t, "cp4")
	grow := func(s *Session) error {
		return s.Locked(t.Context(), pai.VerbBoot, run.LockOptions{}, func(ctx context.Context, _ *run.Lock) error { return s.GrowElectorate(ctx) })
	}
	if err := grow(controlPlanes(t, h1, h2, h3)); err != nil {
		t.Fatal(err)
	}
	if err := grow(controlPlanes(t, h1, h3, h4)); err == nil || !strings.Contains(err.Error(), "control-plane machine cp2 is not in it") {
		t.Errorf("without its name: got %v, want the configuration refused", err)
	}
	replaced := controlPlanes(t, h1, h3, h4)
	replaced.Lost = "cp2"
	if err := grow(replaced); err != nil {
		t.Fatal(err)
	}
	after := controlPlanes(t, h1, h3, h4)
	delete(after.Hosts, "cp1")
	if err := grow(after); err != nil {
		t.Errorf("with two of the new three: %v", err)
	}
}
