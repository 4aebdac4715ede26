package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/rest"
)

func newGroupCommand(env *Env) *cobra.Command {
	return group("group", "Manage groups of users and their rights",
		newGroupListCommand(env), newGroupCreateCommand(env), newGroupUpdateCommand(env), newGroupDeleteCommand(env),
		newGroupMembersCommand(env))
}

func newGroupListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the groups and their rights", Args: cobra.NoArgs}
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, _ []string) error {
		all, err := accounts.Groups(ctx)
		return errors.Join(env.Show(all, func(p *ui.Page) { writeGroups(p, all) }), err)
	})
}

func writeGroups(p *ui.Page, all []rest.GroupInfo) {
	p.Row("GROUP", "ADMIN", "VIRTUAL CLUSTERS", "STORAGES", "DESCRIPTION")
	for _, g := range all {
		r := g.Rights()
		p.Row(g.Name, yesNo(r.Admin), strings.Join(r.VirtualClusters, ","), strings.Join(r.Storages, ","), g.Description)
	}
}

// groupFlags are the flags of a new or changed group.
type groupFlags struct {
	description     string
	virtualClusters []string
	storages        []string
	admin           bool
}

func addGroupFlags(cmd *cobra.Command) *groupFlags {
	f := &groupFlags{}
	cmd.Flags().StringVar(&f.description, "description", "", "what the group is for")
	cmd.Flags().StringSliceVar(&f.virtualClusters, "virtual-clusters", nil, "all virtual clusters of the group, separated by commas")
	cmd.Flags().StringSliceVar(&f.storages, "storages", nil, "all storages of the group, separated by commas, besides those whose configuration names it")
	cmd.Flags().BoolVar(&f.admin, "admin", false, "make all members administrators, or with --admin=false not")
	return f
}

func (f *groupFlags) change(cmd *cobra.Command) rest.GroupChange {
	c := rest.GroupChange{Rights: &rest.RightsChange{}}
	if cmd.Flags().Changed("description") {
		c.Description = &f.description
	}
	if cmd.Flags().Changed("virtual-clusters") {
		c.Rights.VirtualClusters = &f.virtualClusters
	}
	if cmd.Flags().Changed("storages") {
		c.Rights.Storages = &f.storages
	}
	if cmd.Flags().Changed("admin") {
		c.Rights.Admin = &f.admin
	}
	return c
}

func newGroupCreateCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "create GROUP", Short: "Create a group of users", Args: cobra.ExactArgs(1)}
	flags := addGroupFlags(cmd)
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		g, err := accounts.CreateGroup(ctx, args[0], flags.change(cmd))
		if err != nil {
			return err
		}
		return env.Show(g, func(p *ui.Page) { p.Linef("group %s created", g.Name) })
	})
}

func newGroupUpdateCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "update GROUP", Short: "Change the description or the rights of a group", Args: cobra.ExactArgs(1)}
	flags := addGroupFlags(cmd)
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		g, err := accounts.UpdateGroup(ctx, args[0], flags.change(cmd))
		if err != nil {
			return err
		}
		return env.Show(g, func(p *ui.Page) { p.Linef("group %s changed", g.Name) })
	})
}

func newGroupDeleteCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "delete GROUP", Short: "Delete a group", Args: cobra.ExactArgs(1)}
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		if err := accounts.DeleteGroup(ctx, args[0]); err != nil {
			return err
		}
		return env.Show(map[string]string{"deleted": args[0]}, func(p *ui.Page) { p.Linef("group %s deleted; its members stay users", args[0]) })
	})
}

func newGroupMembersCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "members GROUP", Short: "List the members of a group", Args: cobra.ExactArgs(1)}
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, args []string) error {
		if _, err := accounts.Group(ctx, args[0]); err != nil {
			return err
		}
		all, err := accounts.Members(ctx, args[0])
		return errors.Join(env.Show(all, func(p *ui.Page) {
			p.Row("USER", "ADMIN")
			for _, m := range all {
				p.Row(m.Username, yesNo(m.Admin))
			}
		}), err)
	})
}
