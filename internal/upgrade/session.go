package upgrade

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/releases"
)

// Session is one command's connection to one cluster: its configuration, its
// machines, its API once there is one, and the releases that this paictl knows.
type Session struct {
	Config   *config.Config
	Releases []release.Manifest
	Hosts    map[string]machine.Host
	// Version is paictl's own version, which the lock names.
	Version string

	dirs     Dirs
	progress func(format string, args ...any)

	aim config.MigrationTarget // what the configuration is being moved to
	// revision is that of the configuration which the operation under way
	// applies; zero where it applies none.
	revision int
	why      string // the reason of revisions that the operation makes
	// revisions is nil until it is asked for (Revisions).
	revisions *revision.Store

	refreshed refreshed

	mu      sync.Mutex
	kube    *kube.Client
	bundles map[pai.Version]*release.Bundle
}

// Dirs are the operator's folders.
type Dirs struct{ State, Cache string }

// ClusterDir is where the operator's side keeps what belongs to one cluster.
func (d Dirs) ClusterDir(id string) string { return filepath.Join(d.State, "clusters", id) }

// BundleDir is where the bundle of a release lies on the operator's side.
func (d Dirs) BundleDir(name string) string { return release.BundleDir(d.Cache, name) }

// Open connects to the machines of a configuration. A machine that does not
// answer is left out of Hosts; planning then shows it as unreachable.
func Open(ctx context.Context, configDir string, dirs Dirs, progress func(format string, args ...any)) (*Session, error) {
	return open(ctx, configDir, dirs, progress, everyMachine)
}

func everyMachine(config.Machine) bool { return true }

// OpenMaster is Open for what is kept on the control-plane machine: no other
// machine is connected to.
func OpenMaster(ctx context.Context, configDir string, dirs Dirs, progress func(format string, args ...any)) (*Session, error) {
	return open(ctx, configDir, dirs, progress, config.Machine.IsControlPlane)
}

func open(ctx context.Context, configDir string, dirs Dirs, progress func(format string, args ...any), wanted func(config.Machine) bool) (*Session, error) {
	cfg, err := config.Load(configDir)
	if err != nil {
		return nil, err
	}
	known, err := release.Load(releases.FS)
	if err != nil {
		return nil, err
	}
	s := &Session{
		Config: cfg, Releases: known, Version: known[len(known)-1].Metadata.Name,
		dirs: dirs, progress: progress, bundles: map[pai.Version]*release.Bundle{},
	}
	s.Hosts = s.dial(ctx, wanted)
	if err := ctx.Err(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// dial connects to the machines of the configuration that are wanted, side by
// side. One that does not answer is left out, with a line that says why.
func (s *Session) dial(ctx context.Context, wanted func(config.Machine) bool) map[string]machine.Host {
	hosts := map[string]machine.Host{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range s.Config.Layout.MachineList {
		if !wanted(m) {
			continue
		}
		wg.Go(func() {
			host, err := machine.Dial(ctx, machine.Endpoint{
				Name: m.Hostname, Address: m.HostIP, Port: m.SSHPort, User: m.Username,
				KeyFile: m.KeyfilePath, Password: m.Password.Reveal(), KnownHosts: s.knownHosts(),
			})
			if err != nil {
				s.progress("machine %s does not answer: %v", m.Hostname, err)
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

func (s *Session) knownHosts() string {
	return filepath.Join(s.clusterDir(), "known_hosts")
}

func (s *Session) clusterDir() string {
	return s.dirs.ClusterDir(s.Config.Services.Cluster.Common.ClusterID)
}

// Close ends all connections.
func (s *Session) Close() { closeAll(s.Hosts) }

func closeAll(hosts map[string]machine.Host) {
	for _, h := range hosts {
		_ = h.Close() // nothing is under way any more that a failure could lose
	}
}

// Master is the control-plane machine; the journal, the lock and etcd are on it.
func (s *Session) Master() (machine.Host, error) {
	m := s.Config.ControlPlane()
	if h := s.Hosts[m.Hostname]; h != nil {
		return h, nil
	}
	return nil, pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("see that %s (%s) runs and that ssh %s@%s works from here, then run the command again", m.Hostname, m.HostIP, m.Username, m.HostIP),
		"the control-plane machine %s does not answer", m.Hostname)
}

// Kube is a client of the cluster's API. The administrator's kubeconfig is
// kept, readable by its owner alone, in the cluster's folder.
func (s *Session) Kube(ctx context.Context) (*kube.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kube != nil {
		return s.kube, nil
	}
	data, err := s.adminKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kube.FromKubeconfig(data)
	if err != nil {
		return nil, fmt.Errorf("use the administrator's kubeconfig: %w", err)
	}
	s.kube = client
	return client, nil
}

// adminKubeconfig always asks the machine: certificates are renewed in every
// hop, and a cluster may have been booted anew under the same name.
func (s *Session) adminKubeconfig(ctx context.Context) ([]byte, error) {
	master := s.Config.ControlPlane()
	host := s.Hosts[master.Hostname]
	if host == nil {
		return nil, fmt.Errorf("the control-plane machine %s does not answer", master.Hostname)
	}
	data, err := cluster.AdminKubeconfig(ctx, host, master.HostIP)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.clusterDir(), 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(filepath.Join(s.clusterDir(), "admin.conf"), data, 0o600); err != nil {
		return nil, err
	}
	return data, nil
}

// Bundle opens the bundle of a release and checks who signed it.
func (s *Session) Bundle(name pai.Version) (*release.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bundles[name]; b != nil {
		return b, nil
	}
	trusted, err := trustedKeys(s.Config.Services.Cluster.Common.TrustedBundleKeys)
	if err != nil {
		return nil, err
	}
	dir := s.dirs.BundleDir(string(name))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, pai.Errorf(pai.CodeFailed, fmt.Sprintf("build it with: paictl release build %s", name),
			"there is no bundle of release %s in %s", name, dir)
	}
	b, err := release.Open(dir, trusted)
	if err != nil {
		return nil, err
	}
	s.bundles[name] = b
	return b, nil
}

func trustedKeys(encoded []string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, e := range encoded {
		key, err := release.DecodePublicKey(e)
		if err != nil {
			return nil, pai.Errorf(pai.CodeInvalid, "see cluster.common.trusted-bundle-keys in services-configuration.yaml", "read a trusted key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// manifestOf finds the release that carries a version of Kubernetes.
func (s *Session) manifestOf(kubernetes pai.Version) (release.Manifest, error) {
	for _, m := range s.Releases {
		if m.Kubernetes.Version.Compare(kubernetes) == 0 {
			return m, nil
		}
	}
	return release.Manifest{}, pai.Errorf(pai.CodeRefused, "paictl release list shows those that exist",
		"no release carries Kubernetes %s", kubernetes)
}

// Observe reads the world.
func (s *Session) Observe(ctx context.Context) (plan.World, error) {
	w, err := observe.World(ctx, observe.Source{Config: s.Config, Hosts: s.Hosts, Kube: s.Kube})
	if err != nil {
		return w, err
	}
	if w.APIReachable {
		w.Unmigrated = s.unmigrated(ctx)
	}
	return w, s.disown(ctx, &w)
}
