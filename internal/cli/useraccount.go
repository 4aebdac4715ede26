package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/session"
)

// accountsCommand is a command on the users and groups of a cluster, which only the
// control-plane machine has to serve.
func accountsCommand(env *Env, cmd *cobra.Command, do func(ctx context.Context, accounts rest.Accounts, args []string) error) *cobra.Command {
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return cluster.withControlPlane(cmd.Context(), func(s *session.Session) error {
			accounts, err := s.Accounts(cmd.Context())
			if err != nil {
				return err
			}
			return do(cmd.Context(), accounts, args)
		})
	}
	return cmd
}

func newUserListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the users of the REST server", Args: cobra.NoArgs}
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, _ []string) error {
		all, err := accounts.List(ctx)
		return errors.Join(env.Show(all, func(p *ui.Page) { writeUsers(p, all) }), err)
	})
}

func writeUsers(p *ui.Page, all []rest.UserInfo) {
	if len(all) == 0 {
		p.Linef("No users.")
		return
	}
	p.Row("USER", "ADMIN", "PASSWORD", "TOKENS", "VIRTUAL CLUSTERS", "GROUPS", "EMAIL")
	for _, u := range all {
		p.Row(u.Username, yesNo(u.Admin), yesNo(u.CanLogIn), fmt.Sprint(u.Tokens), strings.Join(u.VirtualClusters, ","), strings.Join(u.Groups, ","), u.Email)
	}
}

// userFlags are the flags of a new or changed user.
type userFlags struct {
	env      *Env
	email    string
	password bool
	admin    bool
	groups   []string
}

func addUserFlags(env *Env, cmd *cobra.Command) *userFlags {
	f := &userFlags{env: env}
	cmd.Flags().StringVar(&f.email, "email", "", "email address")
	cmd.Flags().BoolVar(&f.password, "password", false, "set a password, read from the terminal or the first line of standard input")
	cmd.Flags().BoolVar(&f.admin, "admin", false, "make the user an administrator, or with --admin=false not")
	cmd.Flags().StringSliceVar(&f.groups, "groups", nil, "all groups of the user, separated by commas; \"default\" is always one")
	return f
}

// change is what the flags that are given change.
func (f *userFlags) change(cmd *cobra.Command) (rest.UserChange, error) {
	var c rest.UserChange
	if cmd.Flags().Changed("email") {
		c.Email = &f.email
	}
	if cmd.Flags().Changed("groups") {
		c.Groups = &f.groups
	}
	if cmd.Flags().Changed("admin") {
		c.Admin = &f.admin
	}
	if f.password {
		password, err := f.env.readPassword()
		if err != nil {
			return c, err
		}
		c.Password = &password
	}
	return c, nil
}

// readPassword reads a password without showing it. A password is never an argument,
// which other users of the host could see.
func (e *Env) readPassword() (string, error) {
	if file, ok := e.In.(*os.File); ok && e.Interactive {
		fmt.Fprint(e.Err, "Password: ")
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(e.Err)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return string(text), nil
	}
	line, err := bufio.NewReader(io.LimitReader(e.In, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", pai.Errorf(pai.CodeUsage, "write it to the standard input of the command", "no password was given")
	}
	return line, nil
}

func newUserCreateCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "create USER", Short: "Create a user of the REST server", Args: cobra.ExactArgs(1)}
	flags := addUserFlags(env, cmd)
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		c, err := flags.change(cmd)
		if err != nil {
			return err
		}
		u, err := accounts.Create(ctx, args[0], c)
		if err != nil {
			return err
		}
		return env.Show(u, func(p *ui.Page) { p.Linef("user %s created; %s", u.Username, rightsOf(u)) })
	})
}

func newUserUpdateCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "update USER", Short: "Change the password, the groups, or the email of a user", Args: cobra.ExactArgs(1)}
	flags := addUserFlags(env, cmd)
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		c, err := flags.change(cmd)
		if err != nil {
			return err
		}
		u, err := accounts.Update(ctx, args[0], c)
		if err != nil {
			return err
		}
		return env.Show(u, func(p *ui.Page) { p.Linef("user %s changed; %s", u.Username, rightsOf(u)) })
	})
}

// rightsOf says what a user can do.
func rightsOf(u rest.UserInfo) string {
	switch {
	case u.Admin:
		return "an administrator"
	case len(u.VirtualClusters) == 0:
		return "cannot submit jobs: no group gives a right to a virtual cluster"
	}
	return "can submit jobs to " + strings.Join(u.VirtualClusters, ", ")
}

func newUserDeleteCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "delete USER", Short: "Delete a user with all tokens", Args: cobra.ExactArgs(1)}
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		if err := env.confirm(fmt.Sprintf("This will delete user %s and revoke all tokens of the user", args[0])); err != nil {
			return err
		}
		if err := accounts.Delete(ctx, args[0]); err != nil {
			return err
		}
		return env.Show(map[string]string{"deleted": args[0]}, func(p *ui.Page) { p.Linef("user %s deleted; the jobs of the user stay", args[0]) })
	})
}
