package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// target is the flags by which a command finds the cluster it works on, and
// asks before it changes one.
type target struct {
	env       *Env
	configDir string
	clusterID string
}

// addTarget gives a command -p and --cluster-id.
func addTarget(env *Env, cmd *cobra.Command) *target {
	t := &target{env: env}
	cmd.Flags().StringVarP(&t.configDir, "config-path", "p", "", "folder of the cluster's configuration (default: that of the only cluster known here)")
	cmd.Flags().StringVar(&t.clusterID, "cluster-id", "", "id of the cluster, given instead of being asked for it")
	return t
}

func (e *Env) dirs() session.Dirs { return session.Dirs{State: e.StateDir, Cache: e.CacheDir} }

// open connects to the cluster.
func (t *target) open(ctx context.Context) (*session.Session, error) {
	dir, err := t.dir()
	if err != nil {
		return nil, err
	}
	return session.Open(ctx, dir, t.env.dirs(), t.env.Progressf)
}

// showsCluster makes a command one that reads something of the cluster, and
// prints it as text or data.
func showsCluster[T any](env *Env, cmd *cobra.Command, read func(context.Context, *session.Session) (T, error), write func(*ui.Page, T)) *cobra.Command {
	t := addTarget(env, cmd)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := t.open(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		found, err := read(cmd.Context(), s)
		if err != nil {
			return err
		}
		return env.Show(found, func(p *ui.Page) { write(p, found) })
	}
	return cmd
}

// dir is the configuration's folder: the one that -p names, that of the
// cluster which --cluster-id names, or that of the only cluster.
func (t *target) dir() (string, error) {
	if t.configDir != "" {
		return t.configDir, nil
	}
	id := t.clusterID
	if id == "" {
		known, err := t.env.clusters()
		if err != nil {
			return "", err
		}
		switch len(known) {
		case 0:
			return "", pai.Errorf(pai.CodeUsage, "name your configuration with -p DIR, or make PAI on this host with: paictl up",
				"no cluster is known here")
		case 1:
			id = known[0]
		default:
			return "", pai.Errorf(pai.CodeUsage, "name one with --cluster-id, or its configuration with -p DIR",
				"several clusters are known here: %s", strings.Join(known, ", "))
		}
	}
	return filepath.Join(t.env.dirs().ClusterDir(id), "config"), nil
}

// clusters lists the ids of the clusters that have a configuration in the
// state folder.
func (e *Env) clusters() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(e.dirs().ClusterDir("*"), "config"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, filepath.Base(filepath.Dir(f)))
	}
	return ids, nil
}

// confirmCluster asks for the cluster's id before a real cluster is changed.
// A cluster of local machines does not ask for it.
func (t *target) confirmCluster(s *session.Session, what string) error {
	id := s.Config.Services.Cluster.Common.ClusterID
	if t.clusterID != "" {
		if t.clusterID != id {
			return pai.Errorf(pai.CodeRefused, "see which configuration -p names", "the configuration is of cluster %q, not of %q", id, t.clusterID)
		}
		return nil
	}
	if t.env.isLocal(id) {
		return nil
	}
	answer, err := t.env.ask(fmt.Sprintf("This will %s. Type the cluster's id to go on: ", what), "--cluster-id "+id)
	if err != nil {
		return err
	}
	if answer != id {
		return pai.Errorf(pai.CodeRefused, "nothing was changed", "the cluster's id is not %q", answer)
	}
	return nil
}

// confirm asks a yes-or-no question; --yes answers it.
func (e *Env) confirm(question string) error {
	if e.yes {
		return nil
	}
	answer, err := e.ask(question+" [y/N] ", "--yes")
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return pai.Errorf(pai.CodeRefused, "nothing was changed", "not confirmed")
	}
	return nil
}

// ask reads one line; flag is what a script gives instead.
func (e *Env) ask(question, flag string) (string, error) {
	if !e.Interactive {
		return "", pai.Errorf(pai.CodeUsage, "give "+flag, "this needs an answer and there is no terminal to ask on")
	}
	fmt.Fprint(e.Err, question)
	line, err := bufio.NewReader(e.In).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// isLocal reports whether a cluster was made by up on this host.
func (e *Env) isLocal(id string) bool {
	_, err := os.Stat(filepath.Join(e.dirs().ClusterDir(id), localMarker))
	return err == nil
}

// localMarker lies in the folder of a cluster that up made.
const localMarker = "made-by-up"
