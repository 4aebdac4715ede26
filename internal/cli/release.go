package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

func newReleaseCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "The releases of PAI: the support plan, and bundles with everything that a release needs",
	}
	cmd.AddCommand(newReleaseListCommand(env), newReleaseBuildCommand(env), newReleaseShowCommand(env), newReleaseVerifyCommand(env))
	return cmd
}

func newReleaseListCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show the support plan: what each release consists of, and what can be upgraded to it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			manifests, err := release.Load(releases.FS)
			if err != nil {
				return err
			}
			rows := release.Rows(manifests)
			return env.Show(rows, func(p *ui.Page) { showSupportPlan(p, rows) })
		},
	}
}

// showSupportPlan writes the support plan as a table.
func showSupportPlan(p *ui.Page, rows []release.Row) {
	p.Row("RELEASE", "PAI SERVICES", "PAI UPGRADABLE SINCE", "KUBERNETES", "COMPATIBILITY KUBERNETES", "KUBERNETES UPGRADABLE SINCE")
	for _, r := range rows {
		p.Row(r.Release, r.Services.Version, r.Services.UpgradableSince,
			r.Kubernetes.Version, "since "+r.Kubernetes.CompatibleSince, "since "+r.Kubernetes.UpgradableSince)
	}
}

// builtRelease is what `release build` says of each release.
type builtRelease struct {
	Release string `json:"release"`
	Digest  string `json:"digest"`
	Dir     string `json:"dir"`
}

func newReleaseBuildCommand(env *Env) *cobra.Command {
	var source, keyFile string
	cmd := &cobra.Command{
		Use:   "build RELEASE...",
		Short: "Build and sign the bundles of releases, from PAI's source tree",
		Long: "Build and sign the bundles of releases, from PAI's source tree.\n\n" +
			"Every third-party program is compiled from pinned Go modules, which Go's checksum database checks.\n" +
			"What is built is kept by content: a second build compiles only what has changed.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			built, err := buildReleases(cmd.Context(), env, source, keyFile, args)
			if err != nil {
				return err
			}
			return env.Show(built, func(p *ui.Page) {
				for _, b := range built {
					p.Row(b.Release, b.Digest, b.Dir)
				}
			})
		},
	}
	cmd.Flags().StringVar(&source, "source", "", "PAI's source tree (default: the one that the current folder is in)")
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the Ed25519 key to sign with, PKCS #8 PEM (default: the operator's own, made when there is none)")
	return cmd
}

func buildReleases(ctx context.Context, env *Env, source, keyFile string, names []string) ([]builtRelease, error) {
	source, err := sourceTree(source)
	if err != nil {
		return nil, err
	}
	key, err := signingKey(env, keyFile)
	if err != nil {
		return nil, err
	}
	var built []builtRelease
	for _, name := range names {
		dir, err := release.Build(ctx, release.BuildOptions{Source: source, CacheDir: env.CacheDir, Release: name, Key: key, Progress: env.Progressf})
		if err != nil {
			return nil, err
		}
		b, err := release.Open(dir, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err != nil {
			return nil, err
		}
		built = append(built, builtRelease{Release: name, Digest: b.Digest(), Dir: dir})
	}
	return built, nil
}

// sourceTree is dir, or the source tree at or above the current directory.
func sourceTree(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the current directory: %w", err)
	}
	if dir = release.SourceTree(wd); dir == "" {
		return "", pai.Errorf(pai.CodeUsage, "change to PAI's source tree, or name it with --source", "the current directory is not in PAI's source tree")
	}
	return dir, nil
}

func signingKey(env *Env, file string) (ed25519.PrivateKey, error) {
	if file == "" {
		return release.EnsureKey(release.KeyFile(env.StateDir))
	}
	key, err := release.LoadKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &pai.Error{Code: pai.CodeUsage, Next: "leave --key out to sign with a key of your own, which is made when there is none", Err: err}
	}
	return key, err
}

// shownBundle is what `release show` and `release verify` say of a bundle.
type shownBundle struct {
	Release  string          `json:"release"`
	Dir      string          `json:"dir"`
	Digest   string          `json:"digest"`
	SignedBy string          `json:"signedBy"`
	Size     int64           `json:"size"`
	Contents []release.Entry `json:"contents"`
}

func describe(dir string, b *release.Bundle) shownBundle {
	s := shownBundle{Release: b.Manifest().Metadata.Name, Dir: dir, Digest: b.Digest(), SignedBy: b.Signer(), Contents: b.Contents()}
	for _, e := range s.Contents {
		s.Size += e.Size
	}
	return s
}

func newReleaseShowCommand(env *Env) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "show RELEASE|DIR",
		Short: "List what a bundle holds, with sizes and digests",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, b, err := openBundle(env, args[0], key)
			if err != nil {
				return err
			}
			s := describe(dir, b)
			return env.Show(s, func(p *ui.Page) { showBundle(p, s) })
		},
	}
	addPublicKeyFlag(cmd, &key)
	return cmd
}

func showBundle(p *ui.Page, s shownBundle) {
	p.Row("release", s.Release)
	p.Row("digest", s.Digest)
	p.Row("signed by", s.SignedBy)
	p.Row("directory", s.Dir)
	p.Linef("")
	p.Row("KIND", "NAME", "VERSION", "SIZE", "DIGEST")
	for _, e := range s.Contents {
		p.Row(e.Kind, e.Name, e.Version, ui.Size(e.Size), e.Digest)
	}
	p.Linef("total\t\t\t%s", ui.Size(s.Size))
}

func newReleaseVerifyCommand(env *Env) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify RELEASE|DIR",
		Short: "Check a bundle's signature and every digest in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, b, err := openBundle(env, args[0], key)
			if err != nil {
				return err
			}
			if err := b.Verify(cmd.Context()); err != nil {
				return err
			}
			s := describe(dir, b)
			return env.Show(s, func(p *ui.Page) {
				p.Linef("release %s, bundle %s, signed by %s: all %d entries verify (%s)",
					s.Release, s.Digest, s.SignedBy, len(s.Contents), ui.Size(s.Size))
			})
		},
	}
	addPublicKeyFlag(cmd, &key)
	return cmd
}

func addPublicKeyFlag(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "key", "", "public key to trust, in base64, or a file with it (default: the operator's own)")
}

// openBundle opens the bundle of a release in the cache, or the one in a folder.
func openBundle(env *Env, what, key string) (string, *release.Bundle, error) {
	trusted, err := publicKey(env, key)
	if err != nil {
		return "", nil, err
	}
	dir := what
	if _, err := pai.ParseVersion(what); err == nil {
		dir = release.BundleDir(env.CacheDir, what)
	}
	b, err := release.Open(dir, []ed25519.PublicKey{trusted})
	if errors.Is(err, fs.ErrNotExist) {
		next := "build it: paictl release build " + what
		if dir == what {
			next = "name a release, or a folder that has a bundle"
		}
		return "", nil, pai.Errorf(pai.CodeNotFound, next, "there is no bundle in %s", dir)
	}
	return dir, b, err
}

// publicKey is the key that --key gives, or the operator's own.
func publicKey(env *Env, given string) (ed25519.PublicKey, error) {
	if given == "" {
		key, err := release.LoadKey(release.KeyFile(env.StateDir))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, pai.Errorf(pai.CodeUsage, "give the public key of whoever signed the bundle with --key", "there is no key of the operator's own to trust")
		}
		if err != nil {
			return nil, err
		}
		return key.Public().(ed25519.PublicKey), nil
	}
	if data, err := os.ReadFile(given); err == nil {
		given = strings.TrimSpace(string(data))
	}
	key, err := release.DecodePublicKey(given)
	if err != nil {
		return nil, &pai.Error{Code: pai.CodeUsage, Next: "give the public key in base64, or the file that has it (bundle.key.pub)", Message: "--key", Err: err}
	}
	return key, nil
}
