package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
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
		return writeLogs(c.env, id, stream)
	})
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "follow the log until the task ends")
	cmd.Flags().StringVar(&o.TaskRole, "task-role", "", "task role (default: the first task role of the job)")
	cmd.Flags().IntVar(&o.Index, "index", 0, "index of the task in its task role")
	cmd.Flags().IntVar(&attempt, "attempt", 0, "attempt of a task that was retried, counted from 0 (default: the newest)")
	cmd.Flags().Int64Var(&o.Tail, "tail", 0, "number of last lines to print (default: all)")
	cmd.Flags().BoolVar(&o.Timestamps, "timestamps", false, "prefix each line with its time")
	return cmd
}

// writeLogs writes the output of a task: to a file or a pipe as the task wrote it, byte for byte.
func writeLogs(env *Env, id rest.JobID, stream io.Reader) error {
	switch {
	case env.JSON():
		text, err := io.ReadAll(stream)
		if err != nil {
			return err
		}
		if !utf8.Valid(text) {
			return pai.Errorf(pai.CodeRefused, "print it as it is, without -o json; run: paictl job logs "+id.String(),
				"the output of the task is not text in UTF-8, and JSON would change it")
		}
		return env.Show(map[string]string{"log": string(text)}, nil)
	case env.Terminal:
		terminal := ui.NewTerminal(env.Out)
		_, err := io.Copy(terminal, stream)
		return cmp.Or(err, terminal.Close())
	default:
		_, err := io.Copy(env.Out, stream)
		return err
	}
}
