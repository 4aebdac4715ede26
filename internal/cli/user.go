package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/session"
)

func newUserCommand(env *Env) *cobra.Command {
	return group("user", "Manage the users of the REST server and their access",
		newUserListCommand(env), newUserCreateCommand(env), newUserUpdateCommand(env), newUserDeleteCommand(env), newUserImportCommand(env),
		group("token", "Create, list, limit, and revoke tokens of the REST server",
			newTokenListCommand(env), newTokenCreateCommand(env), newTokenExpireCommand(env), newTokenRevokeCommand(env)))
}

const day = 24 * time.Hour

// tokenCommand is a command on the tokens of a cluster, which only the control-plane
// machine has to serve.
func tokenCommand(env *Env, cmd *cobra.Command, do func(ctx context.Context, s *session.Session, tokens rest.Tokens, args []string) error) *cobra.Command {
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return cluster.withControlPlane(cmd.Context(), func(s *session.Session) error {
			tokens, err := s.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return do(cmd.Context(), s, tokens, args)
		})
	}
	return cmd
}

func newTokenListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the tokens of all users", Args: cobra.NoArgs}
	return tokenCommand(env, cmd, func(ctx context.Context, _ *session.Session, tokens rest.Tokens, _ []string) error {
		all, err := tokens.List(ctx)
		if all == nil {
			return err
		}
		return errors.Join(env.Show(all, func(p *ui.Page) { writeTokens(p, all) }), err)
	})
}

func writeTokens(p *ui.Page, all []rest.TokenInfo) {
	if len(all) == 0 {
		p.Linef("No tokens.")
		return
	}
	p.Row("ID", "USER", "ADMIN", "CREATED", "EXPIRES", "NOTE")
	for _, t := range all {
		p.Row(t.ID, t.User, yesNo(t.Admin), ui.Time(t.Created), tokenEnd(t), t.Note)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func tokenEnd(t rest.TokenInfo) string {
	switch {
	case t.Expires.IsZero():
		return "never"
	case t.Expired:
		return "expired on " + ui.Time(t.Expires)
	}
	return ui.Time(t.Expires)
}

// createdToken is what `user token create -o json` prints.
type createdToken struct {
	rest.TokenInfo
	// Token is the only copy; empty if it was saved.
	Token string `json:"token,omitempty"`
	// SavedIn is the file that has the token.
	SavedIn string `json:"savedIn,omitempty"`
}

func newTokenCreateCommand(env *Env) *cobra.Command {
	n := rest.NewToken{User: rest.AdminUser}
	var days int
	var save bool
	cmd := &cobra.Command{Use: "create [USER]", Short: "Create a token for a user (default: admin)", Args: cobra.MaximumNArgs(1)}
	cmd.Flags().IntVar(&days, "days", int(rest.TokenLife/day), "days until the token expires, at most 365")
	cmd.Flags().StringVar(&n.Note, "note", "", "what the token is for (default with --save: the name of this host)")
	cmd.Flags().BoolVar(&n.Admin, "admin", false, "make a new user an administrator")
	cmd.Flags().BoolVar(&save, "save", false, "use the token for paictl on this host, and do not print it")
	return tokenCommand(env, cmd, func(ctx context.Context, s *session.Session, tokens rest.Tokens, args []string) error {
		if len(args) > 0 {
			n.User = args[0]
		}
		if n.User == rest.AdminUser {
			n.Admin = true
		}
		if n.Note == "" && save {
			n.Note = session.TokenNote()
		}
		n.Life = time.Duration(days) * day
		text, info, err := tokens.Create(ctx, n)
		if err != nil {
			return err
		}
		created := createdToken{TokenInfo: info, Token: text}
		if save {
			if created.SavedIn, err = s.SaveToken(ctx, info.User, text); err != nil {
				return err
			}
			created.Token = ""
		}
		return env.Show(created, func(p *ui.Page) {
			if save {
				p.Linef("token %s of user %s is saved in %s and expires on %s", info.ID, info.User, created.SavedIn, ui.Time(info.Expires))
				return
			}
			p.Linef("%s", text)
			env.Progressf("token %s of user %s expires on %s; it is not stored, so keep it", info.ID, info.User, ui.Time(info.Expires))
		})
	})
}

func newTokenExpireCommand(env *Env) *cobra.Command {
	var days int
	cmd := &cobra.Command{Use: "expire ID", Short: "Set when a token expires", Args: cobra.ExactArgs(1)}
	cmd.Flags().IntVar(&days, "days", int(rest.TokenLife/day), "days from now until the token expires, at most 365")
	return tokenCommand(env, cmd, func(ctx context.Context, _ *session.Session, tokens rest.Tokens, args []string) error {
		info, err := tokens.Limit(ctx, args[0], time.Duration(days)*day)
		if err != nil {
			return err
		}
		return env.Show(info, func(p *ui.Page) {
			p.Linef("token %s of user %s expires on %s", info.ID, info.User, ui.Time(info.Expires))
		})
	})
}

func newTokenRevokeCommand(env *Env) *cobra.Command {
	var expired bool
	cmd := &cobra.Command{Use: "revoke [ID…]", Short: "Revoke tokens"}
	cmd.Args = func(_ *cobra.Command, ids []string) error {
		if (len(ids) == 0) != expired {
			return pai.Errorf(pai.CodeUsage, "for the IDs, run: paictl user token list", "name either tokens or --expired")
		}
		return nil
	}
	cmd.Flags().BoolVar(&expired, "expired", false, "delete all tokens that have expired")
	return tokenCommand(env, cmd, func(ctx context.Context, _ *session.Session, tokens rest.Tokens, ids []string) error {
		if expired {
			all, err := tokens.List(ctx)
			if err != nil {
				return err
			}
			for _, t := range all {
				if t.Expired {
					ids = append(ids, t.ID)
				}
			}
		}
		revoked, err := tokens.Revoke(ctx, ids)
		if err != nil {
			return err
		}
		return env.Show(revoked, func(p *ui.Page) {
			for _, t := range revoked {
				p.Linef("token %s of user %s is revoked", t.ID, t.User)
			}
			if len(revoked) == 0 {
				p.Linef("No tokens were revoked.")
			}
		})
	})
}
