package cli

import (
	"context"
	"crypto/ed25519"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

func newBackupCommand(env *Env) *cobra.Command {
	var to, keyFile string
	var recipients []string
	var keep int
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up the control plane, encrypted and verified",
		Args:  cobra.NoArgs,
	}
	f := &operateFlags{cluster: addClusterFlags(env, cmd)}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	cmd.Flags().StringVar(&to, "to", "", "directory of the backups, or s3://BUCKET/PREFIX")
	cmd.Flags().StringSliceVar(&recipients, "recipient", nil, "public key of age that can decrypt the backup (age1…)")
	cmd.Flags().StringVar(&keyFile, "key", "", "file of the key that signs the backup (default: the operator key)")
	cmd.Flags().IntVar(&keep, "keep", 0, "number of backups of this cluster to keep; 0 keeps all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target, err := openTarget(to)
		if err != nil {
			return err
		}
		if keep < 0 {
			return pai.Errorf(pai.CodeUsage, "pass 1 or more, or 0 to keep all", "--keep %d is not a number of backups", keep)
		}
		key, err := signingKey(env, keyFile)
		if err != nil {
			return err
		}
		return f.run(cmd.Context(), "read the keys and the data of the control plane, and write them encrypted to "+target.String(),
			func(s *session.Session) (operation.Goal, error) {
				return operation.Backup(s, operation.BackupOptions{Target: target, Recipients: recipients, Key: key, Keep: keep})
			})
	}
	cmd.AddCommand(newBackupListCommand(env), newBackupVerifyCommand(env))
	return cmd
}

// openTarget returns the directory or the bucket that an operator names. The key of the S3
// server is in the environment or in a file, never on the command line, where other users
// of this host see it.
func openTarget(name string) (backup.Target, error) {
	if !s3.Is(name) {
		return backup.OpenTarget(name)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	how, key, err := s3.FromEnvironment(os.Getenv, home)
	if err != nil {
		return nil, err
	}
	return s3.Open(name, how, key)
}

// fromFlags select backups in a target.
type fromFlags struct {
	env       *Env
	from, key string
	identity  string
}

func addFromFlags(env *Env, cmd *cobra.Command) *fromFlags {
	f := &fromFlags{env: env}
	cmd.Flags().StringVar(&f.from, "from", "", "directory of the backups, or s3://BUCKET/PREFIX")
	cmd.Flags().StringVar(&f.key, "key", "", "public key of the signer of the backups (default: that of the operator key)")
	return f
}

func (f *fromFlags) addIdentity(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.identity, "identity", "", "file with the private key of age that decrypts the backup")
}

func (f *fromFlags) open() (backup.Target, []ed25519.PublicKey, error) {
	target, err := openTarget(f.from)
	if err != nil {
		return nil, nil, err
	}
	key, err := publicKey(f.env, f.key)
	return target, []ed25519.PublicKey{key}, err
}

func newBackupListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the backups in a directory or a bucket",
		Args:  cobra.NoArgs,
	}
	f := addFromFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target, trusted, err := f.open()
		if err != nil {
			return err
		}
		found, err := backup.List(cmd.Context(), target, trusted)
		if err != nil {
			return err
		}
		return env.Show(found, func(p *ui.Page) { writeBackups(p, found) })
	}
	return cmd
}

func writeBackups(p *ui.Page, found []backup.Found) {
	p.Row("BACKUP", "CLUSTER", "TAKEN", "KUBERNETES", "SIZE", "JOBS", "STATE")
	for _, b := range found {
		if !b.Usable() {
			p.Row(b.Name, ui.OrDash(""), ui.OrDash(""), ui.OrDash(""), ui.OrDash(""), ui.OrDash(""), b.Problem)
			continue
		}
		p.Row(b.Name, b.ClusterID, ui.Time(b.Taken), b.Kubernetes, ui.Size(b.Content.Size), b.Etcd.Jobs, signedBy(b))
	}
}

// signedBy says whose key signed a usable backup.
func signedBy(b backup.Found) string {
	if b.ByMachine {
		return "signed by its machine"
	}
	return "signed"
}

// verified is what `cluster backup verify -o json` prints.
type verified struct {
	backup.Manifest
	// Decrypted is true if the content was decrypted and read.
	Decrypted bool `json:"decrypted"`
}

func newBackupVerifyCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [BACKUP]",
		Short: "Read a backup and compare it with its signed digests",
		Args:  cobra.MaximumNArgs(1),
	}
	f := addFromFlags(env, cmd)
	f.addIdentity(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		target, trusted, err := f.open()
		if err != nil {
			return err
		}
		m, err := chosenBackup(cmd.Context(), target, trusted, args)
		if err != nil {
			return err
		}
		result := verified{Manifest: m, Decrypted: f.identity != ""}
		if f.identity == "" {
			err = backup.Verify(cmd.Context(), target, m, nil)
		} else {
			identities, failed := backup.Identities(f.identity)
			if failed != nil {
				return failed
			}
			err = backup.Verify(cmd.Context(), target, m, identities)
		}
		if err != nil {
			return err
		}
		return env.Show(result, func(p *ui.Page) {
			p.Linef("Backup %s of cluster %s is whole and signed. It was taken %s.", m.Name, m.ClusterID, ui.Time(m.Taken))
			if result.Decrypted {
				p.Linef("It was decrypted: its files are those of its index, and its key decrypts a Secret of its snapshot.")
			} else {
				p.Linef("It was not decrypted; to do so, pass --identity FILE.")
			}
			for _, b := range m.Bundles {
				p.Linef("A restore needs the bundle of release %s (%s).", b.Release, ui.OrDash(b.Digest))
			}
		})
	}
	return cmd
}

// chosenBackup is the backup that an argument names, or the newest.
func chosenBackup(ctx context.Context, target backup.Target, trusted []ed25519.PublicKey, args []string) (backup.Manifest, error) {
	if len(args) > 0 && args[0] != "" {
		return backup.Find(ctx, target, args[0], trusted)
	}
	found, err := backup.List(ctx, target, trusted)
	if err != nil {
		return backup.Manifest{}, err
	}
	for _, b := range found {
		if b.Usable() {
			return b.Manifest, nil
		}
	}
	return backup.Manifest{}, pai.Errorf(pai.CodeNotFound, "list what is there; run: paictl cluster backup list --from "+target.String(),
		"%s has no usable backup", target)
}

func newRestoreCommand(env *Env) *cobra.Command {
	var name string
	var keepTokens bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Restore a lost control plane from a backup while jobs keep running",
		Args:  cobra.NoArgs,
	}
	f := &operateFlags{cluster: addClusterFlags(env, cmd)}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	cmd.Flags().StringSliceVar(&f.accept, "accept-risk", nil, "name of a risk to running jobs to accept: evict-jobs:MACHINE")
	from := addFromFlags(env, cmd)
	from.addIdentity(cmd)
	cmd.Flags().StringVar(&name, "backup", "", "name of the backup (default: the newest of the cluster)")
	cmd.Flags().BoolVar(&keepTokens, "keep-tokens", false, "keep the tokens of the REST server, also those that were revoked after the backup")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target, trusted, err := from.open()
		if err != nil {
			return err
		}
		o := operation.RestoreOptions{Target: target, KeepTokens: keepTokens}
		if from.identity != "" {
			if o.Identities, err = backup.Identities(from.identity); err != nil {
				return err
			}
		}
		return f.run(cmd.Context(), "restore the control plane from a backup in "+target.String(), func(s *session.Session) (operation.Goal, error) {
			if name == "" {
				o.Manifest, err = operation.NewestToRestore(cmd.Context(), s, target, trusted)
			} else {
				o.Manifest, err = backup.Find(cmd.Context(), target, name, trusted)
			}
			if err != nil {
				return nil, err
			}
			s.Progressf("backup %s, taken %s ago", o.Manifest.Name, time.Since(o.Manifest.Taken).Round(time.Second))
			return operation.Restore(s, o)
		})
	}
	return cmd
}
