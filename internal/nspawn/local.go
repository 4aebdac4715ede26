package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Local makes machines on this host: systemd-nspawn containers that boot a
// Debian with its own systemd, sshd and network. They are reached over ssh
// like any other machine. All that exists of them on this host carries the
// mark of their StateDir, so that several folders can have machines side by
// side and none is ever mistaken for another's.
type Local struct {
	StateDir string // keys/ssh_ed25519 and local/
	CacheDir string // base/: root file systems to copy
	Progress func(format string, args ...any)
}

// LocalMachine is a machine that Local made.
type LocalMachine struct {
	Name       string `json:"name"`
	Address    string `json:"address"`
	Port       int    `json:"port"`
	User       string `json:"user"`
	KeyFile    string `json:"keyFile"`
	KnownHosts string `json:"knownHosts"`
	State      string `json:"state"` // StateRunning or StateStopped
}

// The values of LocalMachine.State.
const (
	StateRunning = "running"
	StateStopped = "stopped"
)

// Endpoint says how the machine is reached.
func (m LocalMachine) Endpoint() machine.Endpoint {
	return machine.Endpoint{Name: m.Name, Address: m.Address, Port: m.Port, User: m.User, KeyFile: m.KeyFile, KnownHosts: m.KnownHosts}
}

const (
	// MaxLocal is how many machines one StateDir can have: what fits its network.
	MaxLocal = 200
	// bootTimeout is how long a machine may take from its start to an answer
	// by ssh. It takes 3 to 8 s on an idle host.
	bootTimeout = 3 * time.Minute
)

// Up makes sure that the machines pai-1 to pai-n exist and that every machine
// there is runs, and returns all of them. It clears the remains of earlier
// runs first, and goes on where an interrupted one stopped.
func (l Local) Up(ctx context.Context, n int) ([]LocalMachine, error) {
	if n < 0 || n > MaxLocal {
		return nil, pai.Errorf(pai.CodeUsage, fmt.Sprintf("ask for 1 to %d machines", MaxLocal), "cannot make %d local machines", n)
	}
	if err := l.usable(); err != nil {
		return nil, err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	site, err := l.site()
	if err != nil {
		return nil, err
	}
	if err := l.raiseLimits(); err != nil {
		return nil, err
	}
	if err := site.clearHomeless(ctx); err != nil {
		return nil, err
	}
	existing, err := site.containers()
	if err != nil {
		return nil, err
	}
	count := n
	for _, m := range existing {
		count = max(count, m.index)
	}
	network, err := site.network(ctx)
	if err != nil {
		return nil, err
	}
	all, err := l.create(ctx, site, network, count)
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx, site, network, all); err != nil {
		return nil, err
	}
	return site.list(network, all), nil
}

// clearHomeless removes what is left of machines whose disk is gone.
func (s site) clearHomeless(ctx context.Context) error {
	marked, err := s.remains()
	if err != nil {
		return err
	}
	for _, m := range marked {
		if m.exists() {
			continue
		}
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("clear the remains of machine %q: %w", m.name, err)
		}
	}
	return nil
}

// create makes the root file systems that are missing and gives each machine
// what it must know of the others.
func (l Local) create(ctx context.Context, site site, network network, count int) ([]container, error) {
	key, err := ensureKeyPair(site.keyFile())
	if err != nil {
		return nil, err
	}
	var all []container
	for i := 1; i <= count; i++ {
		m := site.container(i)
		all = append(all, m)
		if m.exists() {
			continue
		}
		base, err := l.base(ctx)
		if err != nil {
			return nil, err
		}
		l.progress("making machine %s", m.name)
		if err := m.create(ctx, base, key); err != nil {
			return nil, fmt.Errorf("make machine %q: %w", m.name, err)
		}
	}
	for _, m := range all {
		if err := m.writeHosts(network, all); err != nil {
			return nil, fmt.Errorf("name the machines on %q: %w", m.name, err)
		}
	}
	return all, site.writeKnownHosts(network, all)
}

// start boots the machines that do not run and waits until all answer.
func (l Local) start(ctx context.Context, site site, network network, all []container) error {
	if err := network.ensure(ctx); err != nil {
		return err
	}
	for _, m := range all {
		if m.running() {
			continue
		}
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("clear the remains of machine %q: %w", m.name, err)
		}
		if err := network.plug(ctx, m); err != nil {
			return fmt.Errorf("connect machine %q: %w", m.name, err)
		}
		l.progress("booting machine %s", m.name)
		if err := m.boot(); err != nil {
			return fmt.Errorf("boot machine %q: %w", m.name, err)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range all {
		group.Go(func() error { return m.waitUntilUp(ctx, site.local(network, m).Endpoint()) })
	}
	return group.Wait()
}

// List returns the machines there are, running or not.
func (l Local) List() ([]LocalMachine, error) {
	site, err := l.site()
	if err != nil {
		return nil, err
	}
	all, err := site.containers()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	network, err := site.knownNetwork()
	if err != nil {
		return nil, err
	}
	return site.list(network, all), nil
}

// Down removes the machines and all that belongs to them, as a power cut
// would end them: what they hold is deleted anyway. CacheDir and the
// operator's keys stay.
func (l Local) Down(ctx context.Context) error {
	site, err := l.site()
	if err != nil {
		return err
	}
	if !anyExists([]string{site.dir, site.removed()}) && !site.hasRemains() {
		return nil
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	marked, err := site.remains()
	if err != nil {
		return err
	}
	for _, m := range marked {
		l.progress("removing machine %s", m.name)
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("stop machine %q: %w", m.name, err)
		}
	}
	if err := site.removeNetwork(ctx); err != nil {
		return err
	}
	return site.discard(ctx)
}

// removed is where the site's folder goes before its content does.
func (s site) removed() string { return s.dir + ".removed" }

// discard removes the site's folder, which is gone at once: what is left when
// this is cut off must not be taken for whole machines.
func (s site) discard(ctx context.Context) error {
	if err := removeTree(ctx, s.removed()); err != nil {
		return err
	}
	if err := os.Rename(s.dir, s.removed()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the machines' folder: %w", err)
	}
	return removeTree(ctx, s.removed())
}

// Restart reboots a machine in an orderly way and waits until it answers.
func (l Local) Restart(ctx context.Context, name string) error {
	return l.with(ctx, name, func(site site, network network, m container) error {
		l.progress("rebooting machine %s", m.name)
		if err := m.reboot(ctx); err != nil {
			return fmt.Errorf("reboot machine %q: %w", m.name, err)
		}
		return m.waitUntilUp(ctx, site.local(network, m).Endpoint())
	})
}

// Kill stops a machine as a power cut does. Up starts it again.
func (l Local) Kill(ctx context.Context, name string) error {
	return l.with(ctx, name, func(_ site, _ network, m container) error {
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("kill machine %q: %w", m.name, err)
		}
		return nil
	})
}

// with calls do for one machine while nobody else changes any.
func (l Local) with(ctx context.Context, name string, do func(site, network, container) error) error {
	site, err := l.site()
	if err != nil {
		return err
	}
	if _, err := os.Stat(site.dir); err != nil {
		return noMachine(name)
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := site.containers()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(m container) bool { return m.name == name })
	if i < 0 {
		return noMachine(name)
	}
	network, err := site.knownNetwork()
	if err != nil {
		return err
	}
	return do(site, network, all[i])
}

func noMachine(name string) error {
	return pai.Errorf(pai.CodeNotFound, "paictl machine list shows the machines there are", "there is no local machine %q", name)
}

func (l Local) progress(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(format, args...)
	}
}

// lock keeps every other call that changes local machines of this StateDir out.
func (l Local) lock(ctx context.Context) (unlock func(), err error) {
	dir := filepath.Join(l.StateDir, "local")
	return filelock.Lock(ctx, filepath.Join(dir, "lock"), func() {
		l.progress("waiting: another paictl is changing the local machines in %s", dir)
	})
}
