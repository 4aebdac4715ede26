package cli

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"os"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/releases"
)

func newReleaseCommand(env *Env) *cobra.Command {
	return group("release", "List the releases, and build, carry, and verify their bundles",
		newReleaseListCommand(env), newReleaseBuildCommand(env), newReleaseShowCommand(env), newReleaseVerifyCommand(env),
		newReleaseExportCommand(env), newReleaseImportCommand(env))
}

// findRelease returns the named release; without a name, the newest.
func findRelease(name string) (release.Manifest, error) {
	if name == "" {
		return session.NewestRelease()
	}
	return session.FindRelease(name)
}

func newReleaseListCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show the support plan of all releases",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			manifests, err := release.Load(releases.FS)
			if err != nil {
				return err
			}
			rows := release.Rows(manifests)
			return env.Show(rows, func(p *ui.Page) { writeSupportPlan(p, rows) })
		},
	}
}

func writeSupportPlan(p *ui.Page, rows []release.Row) {
	p.Row("RELEASE", "PAI SERVICES", "PAI UPGRADABLE SINCE", "KUBERNETES", "COMPATIBILITY KUBERNETES", "KUBERNETES UPGRADABLE SINCE")
	for _, r := range rows {
		p.Row(r.Release, r.Services.Version, r.Services.UpgradableSince,
			r.Kubernetes.Version, "since "+r.Kubernetes.CompatibleSince, "since "+r.Kubernetes.UpgradableSince)
	}
}

// builtRelease is what `release build` prints for each release.
type builtRelease struct {
	Release string `json:"release"`
	Digest  string `json:"digest"`
	Dir     string `json:"dir"`
	Paictl  string `json:"paictl,omitempty"` // of the commit that builds a frozen release
}

func newReleaseBuildCommand(env *Env) *cobra.Command {
	var source, keyFile string
	cmd := &cobra.Command{
		Use:               "build RELEASE…",
		Short:             "Build and sign the bundles of releases from the source tree",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: values(releaseNames).complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			built, err := buildReleases(cmd.Context(), env, source, keyFile, args)
			if err != nil {
				return err
			}
			return env.Show(built, func(p *ui.Page) {
				for _, b := range built {
					p.Row(b.Release, b.Digest, b.Dir)
				}
				for _, b := range built {
					if b.Paictl != "" {
						p.Linef("paictl (release %s): %s", b.Release, b.Paictl)
					}
				}
			})
		},
	}
	cmd.Flags().StringVar(&source, "source", "", "PAI source tree (default: the one that the current directory is in)")
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the Ed25519 key to sign with, PKCS #8 PEM (default: the operator key, created if missing)")
	return cmd
}

func buildReleases(ctx context.Context, env *Env, source, keyFile string, names []string) ([]builtRelease, error) {
	if source == "" {
		source = env.sourceTree()
	}
	if source == "" {
		return nil, pai.Errorf(pai.CodeUsage, "change to the PAI source tree, or name it with --source", "the current directory is not in the PAI source tree")
	}
	key, err := signingKey(env, keyFile)
	if err != nil {
		return nil, err
	}
	options := release.BuildOptions{Source: source, CacheDir: env.CacheDir, Key: key,
		KeyFile: cmp.Or(keyFile, release.KeyFile(env.StateDir)), Progress: env.Progressf}
	var built []builtRelease
	for _, name := range names {
		options.Release = pai.Canonical(name)
		made, err := release.Build(ctx, options)
		if err != nil {
			return nil, err
		}
		b, err := release.Open(made.Dir, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err != nil {
			return nil, err
		}
		built = append(built, builtRelease{Release: name, Digest: b.Digest(), Dir: made.Dir, Paictl: made.Paictl})
	}
	return built, nil
}

// sourceTree returns the source tree at or above the current directory; empty
// if there is none.
func (e *Env) sourceTree() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return release.SourceTree(dir)
}

// bundleInfo is what `release show` and `release verify` print.
type bundleInfo struct {
	Release  string          `json:"release"`
	Dir      string          `json:"dir"`
	Digest   string          `json:"digest"`
	SignedBy string          `json:"signedBy"`
	Size     int64           `json:"size"`
	Contents []release.Entry `json:"contents"`
	Notes    *release.Notes  `json:"notes"` // null if neither the bundle nor this paictl has any
}

// describeBundle has the notes that are in the bundle. For a release before its bundle
// had any, they are those that this paictl carries.
func describeBundle(dir string, b *release.Bundle) (bundleInfo, error) {
	info := bundleInfo{Release: string(b.Manifest().Metadata.Name), Dir: dir, Digest: b.Digest(), SignedBy: b.Signer(), Contents: b.Contents(), Notes: b.Notes()}
	if info.Notes == nil {
		n, ok, err := release.LoadNotes(releases.FS, b.Manifest().Metadata.Name)
		if err != nil {
			return info, err
		}
		if ok {
			info.Notes = &n
		}
	}
	for _, e := range info.Contents {
		info.Size += e.Size
	}
	return info, nil
}

func newReleaseShowCommand(env *Env) *cobra.Command {
	return bundleCommand(env, "show", "List the contents of a bundle with sizes and digests",
		func(context.Context, *release.Bundle) error { return nil }, writeBundle)
}

func writeBundle(p *ui.Page, b bundleInfo) {
	p.Row("release", b.Release)
	p.Row("digest", b.Digest)
	p.Row("signed by", b.SignedBy)
	p.Row("directory", b.Dir)
	p.Linef("")
	p.Row("KIND", "NAME", "VERSION", "SIZE", "DIGEST")
	for _, e := range b.Contents {
		p.Row(e.Kind, e.Name, e.Version, ui.Size(e.Size), e.Digest)
	}
	p.Linef("total\t\t\t%s", ui.Size(b.Size))
	writeNotes(p, b.Notes)
}

func newReleaseVerifyCommand(env *Env) *cobra.Command {
	return bundleCommand(env, "verify", "Verify the signature of a bundle and every digest in it",
		func(ctx context.Context, b *release.Bundle) error { return b.Verify(ctx) },
		func(p *ui.Page, b bundleInfo) {
			p.Linef("release %s, bundle %s, signed by %s: all %d entries verify (%s)", b.Release, b.Digest, b.SignedBy, len(b.Contents), ui.Size(b.Size))
		})
}

// bundleCommand is a command that opens a bundle, checks it, and prints it.
func bundleCommand(env *Env, verb, short string, check func(context.Context, *release.Bundle) error, write func(*ui.Page, bundleInfo)) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:               verb + " RELEASE|FILE|DIR",
		Short:             short,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: values(releaseNames).first,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, b, err := openBundle(env, args[0], key)
			if err != nil {
				return err
			}
			if err := check(cmd.Context(), b); err != nil {
				return err
			}
			info, err := describeBundle(dir, b)
			if err != nil {
				return err
			}
			return env.Show(info, func(p *ui.Page) { write(p, info) })
		},
	}
	addTrustedKey(cmd, &key)
	return cmd
}
