package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/rest"
)

func newVCCommand(env *Env) *cobra.Command {
	c := &jobClient{env: env}
	cmd := group("vc", "Show virtual clusters, who uses them, and their queues", newVCListCommand(c), newVCShowCommand(c))
	cmd.Aliases = []string{"virtual-cluster"}
	c.addFlags(cmd)
	return cmd
}

func newVCListCommand(c *jobClient) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the virtual clusters and their use", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := c.client()
			if err != nil {
				return err
			}
			all, err := client.VirtualClusters(cmd.Context())
			if err != nil {
				return err
			}
			return c.env.Show(all, func(p *ui.Page) { writeVirtualClusters(p, all) })
		},
	}
}

func newVCShowCommand(c *jobClient) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show the use and the queue of a virtual cluster", Args: cobra.ExactArgs(1),
		ValidArgsFunction: virtualClusterNames(c).first,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := c.client()
			if err != nil {
				return err
			}
			use, err := client.VirtualCluster(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.env.Show(use, func(p *ui.Page) { writeVirtualCluster(p, use) })
		},
	}
}

// virtualClusterNames asks the REST server for the virtual clusters.
func virtualClusterNames(c *jobClient) values {
	return func(cmd *cobra.Command) (names []cobra.Completion) {
		client, _, err := c.client()
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		all, _ := client.VirtualClusters(ctx)
		for _, vc := range all {
			names = append(names, vc.Name)
		}
		return names
	}
}

func writeVirtualClusters(p *ui.Page, all []rest.VirtualClusterUse) {
	p.Row("VIRTUAL CLUSTER", "CAN SUBMIT", "CORES", "MEMORY (MIB)", "GPUS", "RUNNING", "WAITING")
	for _, vc := range all {
		cells := []any{vc.Name, yesNo(vc.CanSubmit)}
		for _, r := range vc.Resources {
			cell := number(r.Used)
			if r.Limit != nil {
				cell += " of " + number(*r.Limit)
			}
			cells = append(cells, cell)
		}
		p.Row(append(cells, ofThemMine(vc.Running, vc.MineRunning), ofThemMine(vc.Waiting, vc.MineWaiting))...)
	}
}

func writeVirtualCluster(p *ui.Page, vc rest.VirtualClusterUse) {
	p.Linef("virtual cluster %s", vc.Name)
	p.Row("  you can submit jobs", yesNo(vc.CanSubmit))
	p.Row("  jobs that run", ofThemMine(vc.Running, vc.MineRunning))
	p.Row("  jobs that wait", ofThemMine(vc.Waiting, vc.MineWaiting))
	p.Linef("")
	p.Row("RESOURCE", "LIMIT", "USED", "MINE", "BORROWED", "LENT", "FREE")
	names := map[string]string{"cpu": "cores", "memoryMB": "memory (MiB)", "gpu": "GPUs"}
	for _, r := range vc.Resources {
		limit, free := "none", "-"
		if r.Limit != nil && r.Free != nil {
			limit, free = number(*r.Limit), number(*r.Free)
		}
		p.Row(names[r.Resource], limit, number(r.Used), number(r.Mine), number(r.Borrowed), number(r.Lent), free)
	}
	if len(vc.Queue) == 0 {
		return
	}
	p.Linef("")
	p.Row("PLACE IN THE QUEUE", "JOB", "ASKS FOR")
	for _, q := range vc.Queue {
		asks := "-"
		if q.Asks != nil {
			asks = resources(*q.Asks)
		}
		p.Row(q.Position, q.ID, asks)
	}
	for _, q := range vc.Queue {
		if q.Why != "" {
			p.Linef("%s waits: %s", q.ID, q.Why)
		}
	}
}

func ofThemMine(all, mine int) string {
	if mine == 0 {
		return strconv.Itoa(all)
	}
	return fmt.Sprintf("%d (%d mine)", all, mine)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
