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
		Short: "Copy a revision of the configuration into a directory",
		Args:  cobra.NoArgs,
	}
	p.cluster = addClusterFlags(env, cmd)
	cmd.Flags().IntVar(&p.revision, "revision", 0, "number of the revision (default: the newest)")
	cmd.Flags().StringVar(&p.from, "from", "", "[USER@]ADDRESS of the control-plane machine")
	cmd.Flags().IntVar(&p.port, "port", 0, "with --from: port of sshd (default: 22)")
	cmd.Flags().StringVar(&p.key, "key", "", "with --from: private SSH key (default: the keys of the ssh-agent)")
	cmd.Flags().StringVar(&p.knownHosts, "known-hosts", "", "with --from: file of known host keys (default: ~/.ssh/known_hosts)")
	cmd.Flags().BoolVar(&p.discard, "discard-changes", false, "replace local changes that were not pushed; a copy stays beside the directory")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.pull(cmd.Context()) }
	return cmd
}

type puller struct {
	cluster         *clusterFlags
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
	// Previous is the directory with the replaced files; empty if no file was replaced.
	Previous string `json:"former,omitempty"`
}

func (p puller) pull(ctx context.Context) error {
	if p.from != "" {
		return p.pullFrom(ctx)
	}
	source, err := p.source()
	if err != nil {
		return err
	}
	at := &clusterFlags{env: p.cluster.env, configDir: source}
	return at.withControlPlane(ctx, func(s *session.Session) error {
		store, err := s.Revisions()
		if err != nil {
			return err
		}
		return p.into(ctx, store, cmp.Or(p.cluster.configDir, source))
	})
}

// source is the directory of the configuration that names the machines: the
// one to pull into, or that of the known cluster if that has no configuration
// yet.
func (p puller) source() (string, error) {
	if dir := p.cluster.configDir; dir != "" {
		if _, err := config.Files(dir); pai.CodeOf(err) != pai.CodeNotFound {
			return dir, err
		}
	}
	return (&clusterFlags{env: p.cluster.env, clusterID: p.cluster.clusterID}).dir()
}

func (p puller) pullFrom(ctx context.Context) error {
	if p.cluster.configDir == "" {
		return pai.Errorf(pai.CodeUsage, "for example, run: paictl config pull -p lab --from root@10.0.0.1", "the directory to pull into is missing")
	}
	to := machine.Endpoint{Address: p.from, Port: p.port, KeyFile: p.key, KnownHosts: p.knownHosts}
	if user, address, ok := strings.Cut(p.from, "@"); ok {
		to.User, to.Address = user, address
	}
	if to.KnownHosts == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return pai.Errorf(pai.CodeUsage, "pass --known-hosts FILE", "find the known hosts: %w", err)
		}
		to.KnownHosts = filepath.Join(home, ".ssh", "known_hosts")
	}
	host, err := machine.Dial(ctx, to)
	if err != nil {
		return err
	}
	defer host.Close() // only reads were made
	return p.into(ctx, revision.NewStore(host), p.cluster.configDir)
}

func (p puller) into(ctx context.Context, store *revision.Store, dir string) error {
	r, previous, err := configsync.Pull(ctx, store, dir, p.revision, p.discard)
	if err != nil {
		return err
	}
	return p.cluster.env.Show(pulled{Info: r.Info, Directory: dir, Previous: previous}, func(page *ui.Page) {
		page.Linef("Pulled %s into %s.", r.Info, dir)
		if previous != "" {
			page.Linef("The previous files are in %s.", previous)
		}
	})
}
