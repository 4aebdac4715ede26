package nspawn

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Local makes machines on this host: systemd-nspawn containers that boot Debian
// with systemd, sshd, and a network. Everything that belongs to them on this
// host carries the mark of their StateDir, so several state directories can have
// machines at the same time.
type Local struct {
	StateDir string // keys/ssh_ed25519 and local/
	CacheDir string // base/: root file systems that machines are copied from
	Progress func(format string, args ...any)
	// Storage makes Up ensure that each machine has layout.LocalStorage, for the data of jobs.
	Storage bool
}

// LocalMachine is a machine made by Local.
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

// Endpoint is where the machine is reached over ssh.
func (m LocalMachine) Endpoint() machine.Endpoint {
	return machine.Endpoint{Name: m.Name, Address: m.Address, Port: m.Port, User: m.User, KeyFile: m.KeyFile, KnownHosts: m.KnownHosts, SSHConfig: "none"}
}

const (
	// MaxLocal is the maximum number of machines of one StateDir. They share a
	// /24 network.
	MaxLocal = 200
	// bootTimeout limits the time from the start of a machine until it is
	// reachable over ssh, which is 3 to 8 s on an idle host.
	bootTimeout = 3 * time.Minute
)

// Up ensures that the machines pai-1 to pai-n exist and that all machines run,
// and returns all of them. It first removes what earlier runs left behind. If
// it is interrupted, calling it again continues.
func (l Local) Up(ctx context.Context, n int) ([]LocalMachine, error) {
	if n < 0 || n > MaxLocal {
		return nil, pai.Errorf(pai.CodeUsage, fmt.Sprintf("request 1 to %d machines", MaxLocal), "cannot create %d local machines", n)
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
	if err := site.removeOrphans(ctx); err != nil {
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

// create makes the missing root file systems, and updates the host names and the directories for
// jobs on all machines.
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
		l.progress("creating machine %s", m.name)
		if err := m.create(ctx, base, key); err != nil {
			return nil, fmt.Errorf("create machine %q: %w", m.name, err)
		}
	}
	for _, m := range all {
		if err := m.writeHosts(network, all); err != nil {
			return nil, fmt.Errorf("write the host names on machine %q: %w", m.name, err)
		}
	}
	if err := l.makeStorages(all); err != nil {
		return nil, err
	}
	return all, site.writeKnownHosts(network, all)
}

// makeStorages makes the directories for jobs, also on machines that an older release made.
// Without a storage, the disks are left as they are.
func (l Local) makeStorages(all []container) error {
	if !l.Storage {
		return nil
	}
	for _, m := range all {
		if err := m.makeStorage(); err != nil {
			return fmt.Errorf("make the directory for jobs on machine %q: %w", m.name, err)
		}
	}
	return nil
}

// start boots the stopped machines and waits until all are reachable.
func (l Local) start(ctx context.Context, site site, network network, all []container) error {
	if err := network.ensure(ctx); err != nil {
		return err
	}
	for _, m := range all {
		if m.running() {
			continue
		}
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("remove the remains of machine %q: %w", m.name, err)
		}
		if err := network.attachNetwork(ctx, m); err != nil {
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

// List returns all machines, running or stopped.
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

// Restart shuts a machine down, boots it, and waits until it is reachable.
func (l Local) Restart(ctx context.Context, name string) error {
	return l.with(ctx, name, func(site site, network network, m container) error {
		l.progress("rebooting machine %s", m.name)
		if err := m.reboot(ctx); err != nil {
			return fmt.Errorf("reboot machine %q: %w", m.name, err)
		}
		return m.waitUntilUp(ctx, site.local(network, m).Endpoint())
	})
}

// Kill stops a machine like a power failure. Up starts it again.
func (l Local) Kill(ctx context.Context, name string) error {
	return l.with(ctx, name, func(_ site, _ network, m container) error {
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("kill machine %q: %w", m.name, err)
		}
		return nil
	})
}

// with calls do for one machine, under the lock.
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
	return pai.Errorf(pai.CodeNotFound, "list the machines; run: paictl machine list", "local machine %q not found", name)
}

func (l Local) progress(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(format, args...)
	}
}

// lock excludes every other call that changes machines of this StateDir.
func (l Local) lock(ctx context.Context) (unlock func(), err error) {
	dir := filepath.Join(l.StateDir, "local")
	return filelock.Lock(ctx, filepath.Join(dir, "lock"), func() {
		l.progress("waiting: another paictl is changing the local machines in %s", dir)
	})
}
