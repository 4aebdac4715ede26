package cli

import (
	"context"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/rest"
)

func newStorageCommand(env *Env) *cobra.Command {
	c := &jobClient{env: env}
	cmd := group("storage", "List and try the storages of jobs", newStorageListCommand(c), newStorageCheckCommand(c))
	c.addFlags(cmd)
	return cmd
}

func newStorageListCommand(c *jobClient) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the storages of the caller", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := c.client()
			if err != nil {
				return err
			}
			all, err := storagesOf(cmd.Context(), client)
			if err != nil {
				return err
			}
			return c.env.Show(all, func(p *ui.Page) { writeStorages(p, all) })
		},
	}
}

func storagesOf(ctx context.Context, client *rest.Client) ([]rest.StorageDetail, error) {
	list, err := client.Storages(ctx)
	if err != nil {
		return nil, err
	}
	all := []rest.StorageDetail{}
	for _, s := range list {
		d, err := client.Storage(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func writeStorages(p *ui.Page, all []rest.StorageDetail) {
	if len(all) == 0 {
		p.Linef("No storages that you can use.")
		return
	}
	p.Row("STORAGE", "TYPE", "WHERE", "ACCESS", "DIRECTORY", "DEFAULT")
	for _, s := range all {
		where, access, directory := s.Data.Path, "read and write", "shared"
		if s.Data.Server != "" {
			where = s.Data.Server + ":" + where
		}
		if s.ReadOnly {
			access = "read"
		}
		if !s.Share {
			directory = "of each user"
		}
		p.Row(s.Name, s.Kind, where, access, directory, yesNo(s.Default))
	}
}
