package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/nspawn"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
)

// upFlags are the flags of `up`.
type upFlags struct {
	release       string
	machines      int
	controlPlanes int
	operate       operateFlags
}

func newUpCommand(env *Env) *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Create PAI on this host: local machines, Kubernetes, services",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runUp(cmd.Context(), env, f) },
	}
	cmd.Flags().StringVar(&f.release, "release", "", "release to run (default: the newest)")
	cmd.Flags().IntVar(&f.machines, "machines", 1, "number of machines")
	cmd.Flags().IntVar(&f.controlPlanes, "control-planes", 1, "how many of the machines, from the first on, run the control plane: 1, 3, or 5")
	addSkipCheck(cmd, &f.operate.skip)
	return cmd
}

func runUp(ctx context.Context, env *Env, f upFlags) error {
	if f.machines < 1 || f.machines > 20 {
		return pai.Errorf(pai.CodeUsage, "pass a number from 1 to 20 to --machines", "cannot create %d machines", f.machines)
	}
	if n := f.controlPlanes; n != 1 && n != 3 && n != 5 || n > f.machines {
		return pai.Errorf(pai.CodeUsage, "pass 1, 3, or 5 to --control-planes, and at least as many to --machines",
			"cannot create %d control-plane machines among %d", n, f.machines)
	}
	if missing := nspawn.MissingPackages(); len(missing) > 0 {
		return pai.Errorf(pai.CodeFailed, "install them, run: make deps", "missing Debian packages for local machines: %v", missing)
	}
	start := time.Now()
	dir, err := upConfig(ctx, env, f)
	if err != nil {
		return err
	}
	s, err := session.Open(ctx, dir, env.dirs(), env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, goal := range []operation.Goal{operation.Bootup(s), operation.StartServices(s, plan.Choice{})} {
		if err := operate(ctx, env, s, goal, f.operate); err != nil {
			return err
		}
	}
	env.Progressf("PAI %s is running on this host (%s).", s.Config.Release(), time.Since(start).Round(time.Second))
	env.Progressf("Try next:\n  paictl cluster status\n  paictl job submit examples/train.yaml\n  paictl upgrade plan\n  paictl down")
	return nil
}

// upConfig starts the machines and, the first time, writes their configuration.
// It returns the directory of the configuration.
func upConfig(ctx context.Context, env *Env, f upFlags) (string, error) {
	dir := env.configDir(session.LocalClusterID)
	cfg, err := config.Load(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, newLocalCluster(ctx, env, dir, f)
	case err != nil:
		return "", err
	}
	have := cfg.Release()
	if f.release != "" && pai.Canonical(f.release) != string(have) {
		return "", pai.Errorf(pai.CodeRefused,
			"upgrade it, run: paictl upgrade apply --to "+f.release+"\nor delete it, run: paictl down",
			"this host already runs PAI release %s", have)
	}
	if n := len(cfg.Layout.MachineList); f.machines != 1 && f.machines != n {
		return "", pai.Errorf(pai.CodeRefused, "delete it, run: paictl down", "this host already runs PAI with %d machines", n)
	}
	if n := len(cfg.ControlPlanes()); f.controlPlanes != 1 && f.controlPlanes != n {
		return "", pai.Errorf(pai.CodeRefused, "delete it, run: paictl down", "this host already runs PAI with %d control-plane machines", n)
	}
	if _, err := session.EnsureBundle(ctx, env.dirs(), env.sourceTree(), string(have), env.Progressf); err != nil {
		return "", err
	}
	made, err := env.localWith(cfg.Services.Storages).Up(ctx, len(cfg.Layout.MachineList))
	if err != nil {
		return "", err
	}
	return dir, copyKnownHosts(filepath.Dir(dir), made)
}

// copyKnownHosts gives the cluster the host keys of its local machines.
func copyKnownHosts(clusterDir string, made []nspawn.LocalMachine) error {
	data, err := os.ReadFile(made[0].KnownHosts)
	if err != nil {
		return fmt.Errorf("read the host keys of the machines: %w", err)
	}
	if err := os.WriteFile(filepath.Join(clusterDir, "known_hosts"), data, 0o600); err != nil {
		return fmt.Errorf("copy the host keys of the machines: %w", err)
	}
	return nil
}

func newLocalCluster(ctx context.Context, env *Env, dir string, f upFlags) error {
	manifest, err := findRelease(f.release)
	if err != nil {
		return err
	}
	key, err := session.EnsureBundle(ctx, env.dirs(), env.sourceTree(), string(manifest.Metadata.Name), env.Progressf)
	if err != nil {
		return err
	}
	made, err := env.localWith(localStorages(manifest)).Up(ctx, f.machines)
	if err != nil {
		return err
	}
	var list []config.Machine
	for i, m := range made {
		role := config.RoleWorker
		if i < f.controlPlanes {
			role = config.RoleControlPlane
		}
		list = append(list, config.Machine{
			Hostname: m.Name, HostIP: m.Address, SSHPort: m.Port, Username: m.User, KeyfilePath: m.KeyFile, Role: role,
		})
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("create the cluster directory: %w", err)
	}
	// The marker comes first: a configuration without it would look like that
	// of a cluster on real machines.
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), localMarker), nil, 0o600); err != nil {
		return fmt.Errorf("mark the cluster as local: %w", err)
	}
	if err := copyKnownHosts(filepath.Dir(dir), made); err != nil {
		return err
	}
	cfg := localConfig(manifest, list, release.EncodePublicKey(key))
	if len(cfg.Services.Storages) > 0 && f.machines > 1 {
		env.Progressf("jobs can use the storage default; each machine has its own files in it")
	}
	return config.Write(dir, cfg)
}

// localConfig is the configuration of a new local cluster.
func localConfig(manifest release.Manifest, machines []config.Machine, trustedKey string) config.Config {
	pair := pai.Pair{Services: manifest.Services.Version, Kubernetes: manifest.Kubernetes.Version}
	cfg := config.New(session.LocalClusterID, pair, machines, []string{trustedKey})
	cfg.Layout.SchemaVersion = manifest.Configuration.Schema
	cfg.Services.Storages = localStorages(manifest)
	return cfg
}

// localStorages are the storages of a new local cluster; none in a release without storages.
func localStorages(manifest release.Manifest) map[string]config.Storage {
	if manifest.Services.Version.AtLeast(config.StoragesSince) {
		return config.LocalStorages()
	}
	return nil
}

// localWith are the local machines of a cluster with these storages.
func (e *Env) localWith(storages map[string]config.Storage) nspawn.Local {
	l := e.local()
	for _, s := range storages {
		l.Storage = l.Storage || s.Type == pai.StorageDirectory && s.Path == layout.LocalStorage
	}
	return l
}

func newDownCommand(env *Env) *cobra.Command {
	var keepKeys bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Delete PAI from this host, with all its data",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDown(cmd.Context(), env, keepKeys) },
	}
	cmd.Flags().BoolVar(&keepKeys, "keep-keys", false, "keep the keys that sign bundles")
	return cmd
}

func runDown(ctx context.Context, env *Env, keepKeys bool) error {
	what := "This ends every job of PAI on this host and deletes its machines"
	if !keepKeys {
		what += " and the keys in " + filepath.Join(env.StateDir, "keys")
	}
	if err := env.confirm(what); err != nil {
		return err
	}
	if err := env.local().Down(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(env.dirs().ClusterDir(session.LocalClusterID)); err != nil {
		return fmt.Errorf("delete the directory of the local cluster: %w", err)
	}
	others, err := env.clusters("config")
	if err != nil {
		return err
	}
	if len(others) > 0 || keepKeys {
		env.Progressf("Deleted PAI from this host. %s keeps the keys and the files of other clusters: %v", env.StateDir, others)
		return nil
	}
	// No cluster uses the keys: up creates new ones and signs the cached bundles again.
	// PAI_STATE_DIR can be a directory with other files, a disk, or a link.
	for _, name := range []string{"clusters", "keys", "logs", "local"} {
		if err := os.RemoveAll(filepath.Join(env.StateDir, name)); err != nil {
			return fmt.Errorf("delete %s in the state directory: %w", name, err)
		}
	}
	if err := os.Remove(env.StateDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		env.Progressf("%s stays, because it is in use or has files that PAI did not write.", env.StateDir)
	}
	env.Progressf("Deleted PAI from this host. Built programs and bundles stay in %s.", env.CacheDir)
	return nil
}
