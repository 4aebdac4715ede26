package cli

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// addTrustedKey adds --key, which names the key that must have signed a bundle.
func addTrustedKey(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "key", "", "public key to trust, in base64, or a file that contains it (default: the operator key)")
}

// exportedRelease is what `release export` prints.
type exportedRelease struct {
	Release  string `json:"release"`
	Digest   string `json:"digest"`
	SignedBy string `json:"signedBy"`
	File     string `json:"file"`
	Size     int64  `json:"size"`
}

func newReleaseExportCommand(env *Env) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:               "export RELEASE|DIR FILE",
		Short:             "Write the bundle of a release to one archive file",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: values(releaseNames).first,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, b, err := openBundle(env, args[0], key)
			if err != nil {
				return err
			}
			size, err := b.Export(cmd.Context(), env.CacheDir, args[1], env.Progressf)
			if err != nil {
				return err
			}
			e := exportedRelease{Release: string(b.Manifest().Metadata.Name), Digest: b.Digest(), SignedBy: b.Signer(), File: args[1], Size: size}
			return env.Show(e, func(p *ui.Page) {
				p.Linef("Exported release %s to %s (%s).", e.Release, e.File, ui.Size(e.Size))
				p.Linef("Its bundle is %s, signed by %s.", e.Digest, e.SignedBy)
				p.Linef("On the other host, run: paictl release import %s --key %s", filepath.Base(e.File), e.SignedBy)
			})
		},
	}
	addTrustedKey(cmd, &key)
	return cmd
}

// importedRelease is what `release import` prints.
type importedRelease struct {
	Release  string                `json:"release"`
	Digest   string                `json:"digest"`
	SignedBy string                `json:"signedBy"`
	Dir      string                `json:"dir"`
	Size     int64                 `json:"size"`
	Outcome  release.ImportOutcome `json:"outcome"`
	Previous string                `json:"previous,omitempty"` // digest of the replaced bundle
}

func newReleaseImportCommand(env *Env) *cobra.Command {
	var key string
	var replace bool
	cmd := &cobra.Command{
		Use:   "import FILE|DIR",
		Short: "Copy the bundle of an archive or directory into the cache",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			trusted, err := publicKey(env, key)
			if err != nil {
				return err
			}
			r, err := release.Import(cmd.Context(), release.ImportOptions{From: args[0], CacheDir: env.CacheDir,
				Trusted: []ed25519.PublicKey{trusted}, Replace: replace, Progress: env.Progressf})
			if errors.Is(err, fs.ErrNotExist) && pai.NextOf(err) == "" {
				return &pai.Error{Code: pai.CodeNotFound, Next: "name the archive that paictl release export wrote, or the directory of a bundle", Err: err}
			}
			if err != nil {
				return err
			}
			i := importedRelease{Release: string(r.Bundle.Manifest().Metadata.Name), Digest: r.Bundle.Digest(), SignedBy: r.Bundle.Signer(),
				Dir: r.Dir, Size: r.Bundle.Size(), Outcome: r.Outcome, Previous: r.Previous}
			return env.Show(i, func(p *ui.Page) { writeImported(p, i, key != "") })
		},
	}
	addTrustedKey(cmd, &key)
	cmd.Flags().BoolVar(&replace, "replace", false, "replace a bundle of the same release that has other content")
	return cmd
}

func writeImported(p *ui.Page, i importedRelease, foreign bool) {
	switch i.Outcome {
	case release.Unchanged:
		p.Linef("The cache already has release %s with the same bundle; every digest verifies.", i.Release)
	case release.Replaced:
		p.Linef("Imported release %s (%s) and replaced the bundle %s.", i.Release, ui.Size(i.Size), ui.OrDash(i.Previous))
	case release.Imported:
		p.Linef("Imported release %s (%s).", i.Release, ui.Size(i.Size))
	}
	p.Linef("Its bundle is %s in %s, signed by %s.", i.Digest, i.Dir, i.SignedBy)
	if foreign {
		p.Linef("A cluster uses it if this key is in cluster.common.trusted-bundle-keys of its configuration.")
	}
}
