package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/releases"
)

// completionTimeout bounds how long a completion waits for the REST server.
const completionTimeout = 2 * time.Second

// values lists the completions of an argument or a flag. Errors are no
// completions: a shell has no place to show them.
type values func(cmd *cobra.Command) []cobra.Completion

// complete makes list the completions of each argument of a command.
func (list values) complete(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return list(cmd), cobra.ShellCompDirectiveNoFileComp
}

// first makes list the completions of the first argument of a command.
func (list values) first(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list.complete(cmd, args, word)
}

// completeFlags sets the completions of the flags that several commands share.
func completeFlags(root *cobra.Command) {
	lists := map[string]values{
		"to": releaseNames, "release": releaseNames, "skip": serviceNames, "skip-check": checkNames,
		"output": func(*cobra.Command) []cobra.Completion { return []cobra.Completion{"text", "json"} },
	}
	eachCommand(root, func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			switch list := lists[f.Name]; {
			case list != nil:
				_ = cmd.RegisterFlagCompletionFunc(f.Name, list.complete) // fails only for an unknown flag
			case f.Name == "config-path" || f.Name == "releases" || f.Name == "source":
				_ = cmd.MarkFlagDirname(f.Name) // as above
			}
		})
	})
}

func releaseNames(*cobra.Command) (names []cobra.Completion) {
	known, _ := release.Load(releases.FS)
	for _, m := range known {
		names = append(names, cobra.Completion(m.Metadata.Name))
	}
	return names
}

// serviceNames are the services of the newest release.
func serviceNames(*cobra.Command) (names []cobra.Completion) {
	known, _ := release.Load(releases.FS)
	for _, s := range known[len(known)-1].ServiceList {
		names = append(names, s.Name)
	}
	return names
}

func checkNames(*cobra.Command) (names []cobra.Completion) {
	for _, c := range check.All() {
		names = append(names, cobra.CompletionWithDesc(c.ID, c.Title))
	}
	return names
}

// machineNames lists the machines of the configuration that -p names, else the
// local machines.
func machineNames(env *Env, dir *string) values {
	return func(*cobra.Command) (names []cobra.Completion) {
		if *dir != "" {
			if cfg, err := config.Load(*dir); err == nil {
				for _, m := range cfg.Layout.MachineList {
					names = append(names, m.Hostname)
				}
			}
			return names
		}
		made, _ := env.local().List()
		for _, m := range made {
			names = append(names, m.Name)
		}
		return names
	}
}

// completedJobs is how many jobs a completion offers, the newest.
const completedJobs = 200

// jobNames asks the REST server for the jobs.
func jobNames(c *jobClient) values {
	return func(cmd *cobra.Command) (names []cobra.Completion) {
		service, _, err := c.open()
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		jobs, _ := service.List(ctx, rest.Filter{Limit: completedJobs})
		for _, j := range jobs {
			names = append(names, cobra.CompletionWithDesc(j.String(), string(j.State)))
		}
		return names
	}
}
