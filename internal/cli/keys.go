package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

func newKeysCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List the keys of the cluster",
		Args:  cobra.NoArgs,
	}
	f := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withSession(cmd.Context(), func(s *session.Session) error {
			keys, err := operation.Keys(cmd.Context(), s)
			if err != nil {
				return err
			}
			return env.Show(keys, func(p *ui.Page) { writeKeys(p, keys) })
		})
	}
	cmd.AddCommand(newRotateKeyCommand(env), newRemoveKeyCommand(env))
	return cmd
}

func newRotateKeyCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Encrypt all Secrets in etcd with a new key",
		Args:  cobra.NoArgs,
	}
	f := &operateFlags{cluster: addClusterFlags(env, cmd)}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.run(cmd.Context(), "make a new key, and store every Secret again, encrypted with it",
			func(*session.Session) (operation.Goal, error) { return operation.RotateKey(), nil })
	}
	return cmd
}

func newRemoveKeyCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove KEY",
		Short: "Remove an older key of the cluster",
		Args:  cobra.ExactArgs(1),
	}
	f := &operateFlags{cluster: addClusterFlags(env, cmd)}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := layout.CheckKeyName(args[0]); err != nil {
			return pai.Errorf(pai.CodeUsage, "list the keys; run: paictl cluster keys", "%w", err)
		}
		return f.run(cmd.Context(), "delete the key "+args[0]+" from the control-plane machine",
			func(*session.Session) (operation.Goal, error) { return operation.RemoveKey(args[0]), nil })
	}
	return cmd
}

func writeKeys(p *ui.Page, keys operation.ClusterKeys) {
	p.Row("ENCRYPTION KEY", "SECRETS", "USE")
	for _, k := range keys.Encryption {
		use := "decrypts"
		if k.Encrypts {
			use = "encrypts"
		}
		p.Row(k.Name, k.Secrets, use)
	}
	if keys.Unencrypted > 0 {
		p.Linef("%d Secrets are not encrypted; run: paictl cluster keys rotate", keys.Unencrypted)
	}
	p.Linef("")
	p.Row("AUTHORITY", "SUBJECT", "ENDS")
	for _, a := range keys.Authorities {
		p.Row(a.Path, a.Subject, ui.Time(a.NotAfter))
	}
}
