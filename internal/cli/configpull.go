package cli

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

func newConfigPullCommand(env *Env) *cobra.Command {
	p := puller{}
	cmd := &cobra.Command{
		Use:   "pull [-p DIR]",
		Short: "Bring a revision of the cluster's configuration into a folder",
		Long: `Bring the newest revision of the cluster's configuration, or the one that
--revision names, into a folder. The files that it replaces are kept in a folder
beside it.

The cluster is the one whose configuration is in the folder, or the one that
--cluster-id names. With nothing yet, name the control-plane machine; its host
key must be in your known_hosts:

  paictl config pull -p lab --from root@10.0.0.1 --key ~/.ssh/id_ed25519`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.Flags().IntVar(&p.revision, "revision", 0, "number of the revision (default: the newest)")
	cmd.Flags().StringVar(&p.from, "from", "", "[USER@]ADDRESS of the control-plane machine")
	cmd.Flags().IntVar(&p.port, "port", 0, "with --from: port of sshd (default: 22)")
	cmd.Flags().StringVar(&p.key, "key", "", "with --from: private ssh key (default: the ssh-agent's)")
	cmd.Flags().StringVar(&p.knownHosts, "known-hosts", "", "with --from: file of known host keys (default: ~/.ssh/known_hosts)")
	cmd.Flags().BoolVar(&p.discard, "discard-changes", false, "replace changes in the folder that were never pushed (they are kept beside it)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.pull(cmd.Context(), t) }
	return cmd
}

type puller struct {
	revision        int
	from            string
	port            int
	key, knownHosts string
	discard         bool
}

// pulled is what `config pull -o json` prints.
type pulled struct {
	revision.Info
	Directory string `json:"directory"`
	// Former is the folder that the replaced files are in; none where nothing was.
	Former string `json:"former,omitempty"`
}

func (p puller) pull(ctx context.Context, t *target) error {
	if p.from != "" {
		return p.pullFrom(ctx, t)
	}
	at, err := clusterOf(t)
	if err != nil {
		return err
	}
	s, err := session.OpenControlPlane(ctx, at, t.env.dirs(), t.env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	return p.into(ctx, t.env, store, cmp.Or(t.configDir, at))
}

// clusterOf is the folder that says where the cluster is: the one that is
// pulled into, or, where that has no configuration yet, the one known here.
func clusterOf(t *target) (string, error) {
	if t.configDir != "" {
		if _, err := config.Files(t.configDir); pai.CodeOf(err) != pai.CodeNotFound {
			return t.configDir, err
		}
	}
	return (&target{env: t.env, clusterID: t.clusterID}).dir()
}

func (p puller) pullFrom(ctx context.Context, t *target) error {
	if t.configDir == "" {
		return pai.Errorf(pai.CodeUsage, "for example: paictl config pull -p lab --from root@10.0.0.1", "name the folder to pull into with -p")
	}
	to := machine.Endpoint{Address: p.from, Port: p.port, KeyFile: p.key, KnownHosts: p.knownHosts}
	if user, address, ok := strings.Cut(p.from, "@"); ok {
		to.User, to.Address = user, address
	}
	if to.KnownHosts == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return pai.Errorf(pai.CodeUsage, "give --known-hosts FILE", "find the known hosts: %w", err)
		}
		to.KnownHosts = filepath.Join(home, ".ssh", "known_hosts")
	}
	host, err := machine.Dial(ctx, to)
	if err != nil {
		return err
	}
	defer host.Close() // nothing is under way any more that a failure could lose
	return p.into(ctx, t.env, revision.NewStore(host), t.configDir)
}

func (p puller) into(ctx context.Context, env *Env, store *revision.Store, dir string) error {
	r, former, err := configsync.Pull(ctx, store, dir, p.revision, p.discard)
	if err != nil {
		return err
	}
	return env.Show(pulled{Info: r.Info, Directory: dir, Former: former}, func(page *ui.Page) {
		page.Linef("Pulled %s into %s", r.Info, dir)
		if former != "" {
			page.Linef("The previous files are in %s", former)
		}
	})
}
