package cli

import (
	"errors"
	"path"
	"slices"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/session"
)

func newCertificatesCommand(env *Env) *cobra.Command {
	var renew bool
	cmd := &cobra.Command{
		Use:   "certificates",
		Short: "List the certificates of all machines, and renew them",
		Args:  cobra.NoArgs,
	}
	f := addClusterFlags(env, cmd)
	cmd.Flags().BoolVar(&renew, "renew", false, "renew all certificates that PAI renews; no job notices")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withSession(cmd.Context(), func(s *session.Session) error {
			list := operation.Certificates
			if renew {
				if err := f.confirm(s, "renew the certificates of all machines"); err != nil {
					return err
				}
				list = operation.RenewCertificates
			}
			machines, err := list(cmd.Context(), s)
			if machines == nil {
				return err
			}
			return errors.Join(env.Show(machines, func(p *ui.Page) { writeCertificates(p, machines) }), err)
		})
	}
	return cmd
}

func writeCertificates(p *ui.Page, machines []operation.MachineCertificates) {
	p.Row("MACHINE", "FILE", "SUBJECT", "ENDS", "RENEWED BY")
	for _, m := range machines {
		for _, c := range m.Certificates {
			p.Row(m.Machine, c.Path, c.Subject, ui.Time(c.NotAfter), renewer(c))
		}
	}
	for _, m := range machines {
		for _, file := range m.Renewed {
			p.Linef("Renewed %s on %s.", path.Clean(file), m.Machine)
		}
	}
	for _, m := range machines {
		for _, problem := range slices.Compact(m.Problems) {
			p.Linef("%s: %s", m.Machine, problem)
		}
	}
}

// renewer says who renews a certificate.
func renewer(c certs.Certificate) string {
	switch {
	case c.Authority:
		return "nothing"
	case c.Kubelet:
		return "the kubelet"
	case c.Program:
		return "its service"
	default:
		return "PAI"
	}
}
