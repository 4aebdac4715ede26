package cli

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// clusterFlags are the flags that select the cluster of a command.
type clusterFlags struct {
	env       *Env
	configDir string
	clusterID string
}

// addClusterFlags adds -p and --cluster-id to a command.
func addClusterFlags(env *Env, cmd *cobra.Command) *clusterFlags {
	f := &clusterFlags{env: env}
	cmd.Flags().StringVarP(&f.configDir, "config-path", "p", "", "directory of the cluster configuration (default: that of the only known cluster)")
	cmd.Flags().StringVar(&f.clusterID, "cluster-id", "", "cluster ID; also answers the question for it")
	return f
}

func (e *Env) dirs() session.Dirs { return session.Dirs{State: e.StateDir, Cache: e.CacheDir} }

// withSession connects to the cluster for the time of do.
func (f *clusterFlags) withSession(ctx context.Context, do func(*session.Session) error) error {
	return f.with(ctx, session.Open, do)
}

// withControlPlane connects only to the control-plane machine for the time of do.
func (f *clusterFlags) withControlPlane(ctx context.Context, do func(*session.Session) error) error {
	return f.with(ctx, session.OpenControlPlane, do)
}

type opener func(ctx context.Context, dir string, dirs session.Dirs, progress func(string, ...any)) (*session.Session, error)

func (f *clusterFlags) with(ctx context.Context, open opener, do func(*session.Session) error) error {
	dir, err := f.dir()
	if err != nil {
		return err
	}
	s, err := open(ctx, dir, f.env.dirs(), f.env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// showsCluster makes a command read something through a session and print it.
func showsCluster[T any](env *Env, cmd *cobra.Command, open opener, read func(context.Context, *session.Session) (T, error), write func(*ui.Page, T)) *cobra.Command {
	cluster := addClusterFlags(env, cmd)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return cluster.with(cmd.Context(), open, func(s *session.Session) error {
			found, err := read(cmd.Context(), s)
			if err != nil {
				return err
			}
			return env.Show(found, func(p *ui.Page) { write(p, found) })
		})
	}
	return cmd
}

// dir returns the configuration directory: the one that -p names, that of the
// cluster that --cluster-id names, or that of the only cluster.
func (f *clusterFlags) dir() (string, error) {
	if f.configDir != "" {
		return f.configDir, nil
	}
	if f.clusterID != "" {
		return f.env.configDir(f.clusterID), nil
	}
	id, err := f.env.onlyCluster("config", pai.Errorf(pai.CodeUsage,
		"name the configuration with -p DIR; or create PAI on this host, run: paictl up", "no cluster is known on this host"))
	return f.env.configDir(id), err
}

func (e *Env) configDir(id string) string { return filepath.Join(e.dirs().ClusterDir(id), "config") }

// onlyCluster returns the ID of the only cluster that has the named file in
// the state directory, and none if there is no such cluster.
func (e *Env) onlyCluster(file string, none error) (string, error) {
	ids, err := e.clusters(file)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", none
	case len(ids) > 1:
		return "", pai.Errorf(pai.CodeUsage, "name one with --cluster-id", "several clusters are known on this host: %s", strings.Join(ids, ", "))
	}
	return ids[0], nil
}

// clusters lists the IDs of the clusters that have the named file in the state
// directory.
func (e *Env) clusters(file string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(e.dirs().ClusterDir("*"), file))
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = filepath.Base(filepath.Dir(f))
	}
	return ids, err
}
