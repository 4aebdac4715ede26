package session

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/releases"
)

// Session is the connection of one command to one cluster: the configuration,
// the machines, the API if there is one, and the releases that this paictl
// knows. It holds nothing of an operation. Its methods can be called in
// parallel.
type Session struct {
	Config *config.Config
	// Releases are the releases that this paictl knows. A frozen one has pins if
	// its bundle is on this host.
	Releases []release.Manifest
	// Hosts are the connected machines by name; an unreachable machine is not
	// among them.
	Hosts map[string]machine.Host
	// Version is the version of paictl, which the lock names.
	Version string
	Dirs    Dirs
	// Lost is a control-plane machine that left the configuration and might still vote on the
	// lock; empty for none. It is set before the first use of the records.
	Lost string
	// Progressf reports a line of progress.
	Progressf func(format string, args ...any)

	seed     string // of several control-plane machines; see cluster.Seed
	kube     kubeClient
	records  recordStore
	mu       sync.Mutex // guards bundles and unusable
	bundles  map[pai.Release]*release.Bundle
	unusable map[pai.Release]bool // bundles that were reported
}

// Dirs are the directories of the operator's side.
type Dirs struct{ State, Cache string }

// ClusterDir is where the operator's side keeps the files of one cluster.
func (d Dirs) ClusterDir(id string) string { return filepath.Join(d.State, "clusters", id) }

// BundleDir is where the operator's side keeps the bundle of a release.
func (d Dirs) BundleDir(name string) string { return filepath.Join(d.Cache, "bundles", name) }

// Open connects to the machines of a configuration. An unreachable machine is
// left out of Hosts; plans then show it as unreachable.
func Open(ctx context.Context, configDir string, dirs Dirs, progressf func(format string, args ...any)) (*Session, error) {
	return open(ctx, configDir, dirs, progressf, everyMachine)
}

// OpenControlPlane is Open for what the control-plane machine stores: it
// connects to no other machine.
func OpenControlPlane(ctx context.Context, configDir string, dirs Dirs, progressf func(format string, args ...any)) (*Session, error) {
	return open(ctx, configDir, dirs, progressf, config.Machine.IsControlPlane)
}

func everyMachine(config.Machine) bool { return true }

func open(ctx context.Context, configDir string, dirs Dirs, progressf func(format string, args ...any), wanted func(config.Machine) bool) (*Session, error) {
	cfg, err := config.Load(configDir)
	if err != nil {
		return nil, err
	}
	known, err := release.Load(releases.FS)
	if err != nil {
		return nil, err
	}
	s := &Session{Config: cfg, Version: string(known[len(known)-1].Metadata.Name), Dirs: dirs, Progressf: progressf}
	s.Releases = s.withPins(known)
	s.Hosts = s.dial(ctx, wanted)
	seed, err := cluster.Seed(ctx, cfg, s.Hosts)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.seed = seed.Hostname
	return s, nil
}

// Dial makes a second set of connections, for a reader that must not share
// connections with what it watches.
func (s *Session) Dial(ctx context.Context) map[string]machine.Host { return s.dial(ctx, everyMachine) }

// dial connects to the wanted machines in parallel. It reports an unreachable
// machine and leaves it out.
func (s *Session) dial(ctx context.Context, wanted func(config.Machine) bool) map[string]machine.Host {
	hosts := map[string]machine.Host{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range s.Config.Layout.MachineList {
		if !wanted(m) {
			continue
		}
		wg.Go(func() {
			endpoint := Endpoint(m.Hostname, m, filepath.Join(s.ClusterDir(), "known_hosts"))
			if s.ClusterID() == LocalClusterID {
				endpoint.SSHConfig = "none" // on this host, without a jump
			}
			host, err := machine.Dial(ctx, endpoint)
			if err != nil {
				s.Progressf("machine %s is unreachable: %v", m.Hostname, err)
				if next := pai.NextOf(err); next != "" {
					s.Progressf("  %s", next)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			hosts[m.Hostname] = host
		})
	}
	wg.Wait()
	return hosts
}

// Close ends all connections.
func (s *Session) Close() { CloseAll(s.Hosts) }

// CloseAll ends the connections to machines.
func CloseAll(hosts map[string]machine.Host) {
	for _, h := range hosts {
		_ = h.Close() // nothing is in progress that a failure could lose
	}
}

// ClusterID is the ID of the cluster in the configuration.
func (s *Session) ClusterID() string { return s.Config.Services.Cluster.Common.ClusterID }

// ClusterDir is where the operator's side keeps the files of this cluster.
func (s *Session) ClusterDir() string { return s.Dirs.ClusterDir(s.ClusterID()) }

// Seed is the control-plane machine, of several the one that stands for all; see
// cluster.Seed.
func (s *Session) Seed() config.Machine {
	if m, found := s.Config.FindMachine(s.seed); found {
		return m
	}
	return s.Config.ControlPlane()
}

// ControlPlane is the connected control-plane machine, which stores the
// journal, the lock, and the revisions of the configuration. Of several, it is the Seed.
func (s *Session) ControlPlane() (machine.Host, error) {
	m := s.Seed()
	if h := s.Hosts[m.Hostname]; h != nil {
		return h, nil
	}
	return nil, pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("check that %s (%s) runs and that ssh %s@%s works from this host, then run the command again", m.Hostname, m.HostIP, m.Username, m.HostIP),
		"control-plane machine %s is unreachable", m.Hostname)
}

// Records say what the cluster runs and which machines are in maintenance.
func (s *Session) Records() (cluster.Records, error) { return s.Store() }

// Revisions is the store of the configuration's revisions.
func (s *Session) Revisions() (*revision.Store, error) {
	store, err := s.Store()
	if err != nil {
		return nil, err
	}
	return revision.NewStore(store), nil
}

// Journal is the record of the cluster's operations.
func (s *Session) Journal() (*run.Journal, error) {
	store, err := s.Store()
	if err != nil {
		return nil, err
	}
	return run.NewJournal(store), nil
}

// Kube is a client of the cluster's API. It stores the administrator's
// kubeconfig in the directory of the cluster, readable by its owner only.
func (s *Session) Kube(ctx context.Context) (*kube.Client, error) {
	return s.kube.get(ctx, s.dialKube)
}

// UseKube sets the client that Kube returns, for an API that has no kubeconfig
// on a machine.
func (s *Session) UseKube(c *kube.Client) { s.kube.client = c }

// Endpoint is where a machine of a configuration is reached, and how to log in.
func Endpoint(name string, m config.Machine, knownHosts string) machine.Endpoint {
	return machine.Endpoint{Name: name, Address: m.HostIP, Port: m.SSHPort, User: m.Username,
		KeyFile: m.KeyfilePath, Password: m.Password.Reveal(), KnownHosts: knownHosts}
}
