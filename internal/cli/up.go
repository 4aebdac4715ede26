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

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/nspawn"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
)

func newUpCommand(env *Env) *cobra.Command {
	var (
		releaseName string
		machines    int
		skip        *[]string
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make PAI on this host: local machines, Kubernetes, the services",
		Long: `Make PAI on this host: local machines, a configuration for them, Kubernetes
and the PAI services. The machines are systemd-nspawn containers, reached over
ssh like any other machine.

Run again, it goes on where it was interrupted, and changes nothing that is
there. It does not move what runs to another release: that is what
"paictl upgrade apply" is for.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runUp(cmd.Context(), env, releaseName, machines, operateFlags{skip: skip})
		},
	}
	cmd.Flags().StringVar(&releaseName, "release", "", "release to run (default: the newest)")
	cmd.Flags().IntVar(&machines, "machines", 1, "number of machines; the first carries the control plane")
	skip = addSkipCheck(cmd)
	return cmd
}

func runUp(ctx context.Context, env *Env, releaseName string, machines int, f operateFlags) error {
	if err := check.ValidateIDs(f.skipped()); err != nil {
		return err
	}
	if machines < 1 || machines > 20 {
		return pai.Errorf(pai.CodeUsage, "give --machines a number from 1 to 20", "%d machines cannot be made", machines)
	}
	if missing := nspawn.MissingPackages(); len(missing) > 0 {
		return pai.Errorf(pai.CodeFailed, "install them with: make deps", "local machines need Debian packages that are not installed: %v", missing)
	}
	start := time.Now()
	dir, err := upConfig(ctx, env, releaseName, machines)
	if err != nil {
		return err
	}
	s, err := session.Open(ctx, dir, env.dirs(), env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, goal := range []operation.Goal{operation.Bootup(s), operation.StartServices(s, plan.Choice{})} {
		if err := operate(ctx, env, s, goal, f); err != nil {
			return err
		}
	}
	env.Progressf("PAI %s runs on this host (%s).", s.Config.Services.Cluster.Common.Release, time.Since(start).Round(time.Second))
	env.Progressf("Try next:\n  paictl cluster status\n  paictl job submit examples/train.yaml\n  paictl upgrade plan\n  paictl down")
	return nil
}

// upConfig makes the machines and, the first time, their configuration, and
// returns the configuration's folder.
func upConfig(ctx context.Context, env *Env, releaseName string, machines int) (string, error) {
	dir := filepath.Join(env.dirs().ClusterDir(session.LocalClusterID), "config")
	cfg, err := config.Load(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, newLocalCluster(ctx, env, dir, releaseName, machines)
	case err != nil:
		return "", err
	}
	if have := cfg.Services.Cluster.Common.Release; releaseName != "" && releaseName != string(have) {
		return "", pai.Errorf(pai.CodeRefused,
			"move it with: paictl upgrade apply --to "+releaseName+"\nor start anew with: paictl down",
			"this host already has a PAI of release %s", have)
	}
	if have := len(cfg.Layout.MachineList); machines != 1 && machines != have {
		return "", pai.Errorf(pai.CodeRefused, "start anew with: paictl down", "this host already has a PAI of %d machines", have)
	}
	if _, err := session.EnsureBundle(ctx, env.dirs(), env.sourceTree(), string(cfg.Services.Cluster.Common.Release), env.Progressf); err != nil {
		return "", err
	}
	made, err := env.local().Up(ctx, len(cfg.Layout.MachineList))
	if err != nil {
		return "", err
	}
	return dir, keepKnownHosts(filepath.Dir(dir), made)
}

// keepKnownHosts gives the cluster the host keys of its local machines.
func keepKnownHosts(clusterDir string, made []nspawn.LocalMachine) error {
	data, err := os.ReadFile(made[0].KnownHosts)
	if err != nil {
		return fmt.Errorf("read the machines' host keys: %w", err)
	}
	if err := os.WriteFile(filepath.Join(clusterDir, "known_hosts"), data, 0o600); err != nil {
		return fmt.Errorf("keep the machines' host keys: %w", err)
	}
	return nil
}

func newLocalCluster(ctx context.Context, env *Env, dir, releaseName string, machines int) error {
	manifest, err := session.NewestRelease()
	if releaseName != "" {
		manifest, err = session.FindRelease(releaseName)
	}
	if err != nil {
		return err
	}
	key, err := session.EnsureBundle(ctx, env.dirs(), env.sourceTree(), manifest.Metadata.Name, env.Progressf)
	if err != nil {
		return err
	}
	made, err := env.local().Up(ctx, machines)
	if err != nil {
		return err
	}
	var list []config.Machine
	for i, m := range made {
		role := config.RoleWorker
		if i == 0 {
			role = config.RoleControlPlane
		}
		list = append(list, config.Machine{
			Hostname: m.Name, HostIP: m.Address, SSHPort: m.Port, Username: m.User, KeyfilePath: m.KeyFile, Role: role,
		})
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	// The marker comes first: a configuration without it would look like that
	// of a real cluster.
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), localMarker), nil, 0o600); err != nil {
		return fmt.Errorf("mark the cluster as local: %w", err)
	}
	if err := keepKnownHosts(filepath.Dir(dir), made); err != nil {
		return err
	}
	pair := pai.Pair{Services: manifest.Services.Version, Kubernetes: manifest.Kubernetes.Version}
	cfg := config.New(session.LocalClusterID, pair, list, []string{release.EncodePublicKey(key)})
	cfg.Layout.SchemaVersion = manifest.Configuration.Schema
	return config.Write(dir, cfg)
}

func (e *Env) local() nspawn.Local {
	return nspawn.Local{StateDir: e.StateDir, CacheDir: e.CacheDir, Progress: e.Progressf}
}

func (e *Env) sourceTree() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return release.SourceTree(dir)
}

func newDownCommand(env *Env) *cobra.Command {
	var keepKeys bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take away the PAI that up made on this host, with everything on it",
		Long: `Take away the PAI that up made on this host: its machines with the jobs and
data on them, and what is kept of it in the state folder. Where no other
cluster is known here, that includes the keys that sign bundles and open the
machines; give --keep-keys if bundles signed with them are in use elsewhere.
The cache of built programs and bundles stays.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDown(cmd.Context(), env, keepKeys)
		},
	}
	cmd.Flags().BoolVar(&keepKeys, "keep-keys", false, "keep the keys that sign bundles")
	return cmd
}

func runDown(ctx context.Context, env *Env, keepKeys bool) error {
	question := "This ends every job on this host's PAI and deletes its machines"
	if !keepKeys {
		question += " and the keys in " + filepath.Join(env.StateDir, "keys")
	}
	if err := env.confirm(question + ". Go on?"); err != nil {
		return err
	}
	if err := env.local().Down(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(env.dirs().ClusterDir(session.LocalClusterID)); err != nil {
		return fmt.Errorf("remove what is kept of the local cluster: %w", err)
	}
	others, err := env.clusters()
	if err != nil {
		return err
	}
	if len(others) > 0 || keepKeys {
		env.Progressf("PAI is gone from this host. %s keeps the keys and what belongs to other clusters: %v", env.StateDir, others)
		return nil
	}
	// Nothing else uses the keys: up makes new ones, and signs the bundles in
	// the cache again.
	if err := os.RemoveAll(env.StateDir); err != nil {
		return fmt.Errorf("remove the state folder: %w", err)
	}
	env.Progressf("PAI is gone from this host. What was built is still in %s.", env.CacheDir)
	return nil
}
