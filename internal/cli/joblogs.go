package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

func newJobLogsCommand(c *jobClient) *cobra.Command {
	var o rest.LogOptions
	var cmd *cobra.Command
	attempt := 0
	cmd = c.command("logs", "Print the log of a task", func(ctx context.Context, api rest.JobAPI, id rest.JobID) error {
		if o.Tail < 0 || o.Index < 0 || attempt < 0 {
			return pai.Errorf(pai.CodeUsage, "", "--tail, --index, and --attempt must not be negative")
		}
		if cmd.Flags().Changed("attempt") {
			o.Attempt = &attempt
		}
		o.Missing = func(what string) { fmt.Fprintln(c.env.Err, what) }
		stream, err := api.Logs(ctx, id, o)
		if err != nil {
			return err
		}
		defer stream.Close()
		return writeLogs(c.env, stream)
	})
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "follow the log until the task ends")
	cmd.Flags().StringVar(&o.TaskRole, "task-role", "", "task role (default: the first task role of the job)")
	cmd.Flags().IntVar(&o.Index, "index", 0, "index of the task in its task role")
	cmd.Flags().IntVar(&attempt, "attempt", 0, "attempt of a task that was retried, counted from 0 (default: the newest)")
	cmd.Flags().Int64Var(&o.Tail, "tail", 0, "number of last lines to print (default: all)")
	cmd.Flags().BoolVar(&o.Timestamps, "timestamps", false, "prefix each line with its time")
	return cmd
}

func writeLogs(env *Env, stream io.Reader) error {
	if !env.JSON() {
		_, err := io.Copy(env.Out, stream)
		return err
	}
	text, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	return env.Show(map[string]string{"log": string(text)}, nil)
}
