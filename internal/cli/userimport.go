package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/openpaisecrets"
	"pai.dev/pai/internal/rest"
)

func newUserImportCommand(env *Env) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{Use: "import FILE…", Short: "Import users, groups, and application tokens of OpenPAI", Args: cobra.MinimumNArgs(1)}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be imported, and change nothing")
	return accountsCommand(env, cmd, func(ctx context.Context, accounts rest.Accounts, files []string) error {
		all, err := env.readExports(files)
		if err != nil {
			return err
		}
		report, err := accounts.Import(ctx, all, dryRun)
		if err != nil {
			return err
		}
		return env.Show(report, func(p *ui.Page) { writeImport(p, report) })
	})
}

// readExports reads all files; "-" is standard input. The error has the problems of all.
func (e *Env) readExports(files []string) (all openpaisecrets.Export, problems error) {
	for _, file := range files {
		found, err := e.readExport(file)
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("%s: %w", file, err))
		}
		all.Add(found)
	}
	return all, problems
}

func (e *Env) readExport(file string) (openpaisecrets.Export, error) {
	from := e.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return openpaisecrets.Export{}, err
		}
		defer func() { _ = f.Close() }() // it was only read
		from = f
	}
	return openpaisecrets.Read(from)
}

func writeImport(p *ui.Page, r rest.ImportReport) {
	p.Row("GROUP", "RESULT")
	for _, g := range r.Groups {
		p.Row(g.Name, string(g.Result))
	}
	p.Linef("")
	p.Row("USER", "RESULT", "ADMIN", "PASSWORD", "TOKENS", "GROUPS")
	for _, u := range r.Users {
		p.Row(u.Name, string(u.Result), yesNo(u.Admin), yesNo(u.Password), fmt.Sprint(u.Tokens), strings.Join(u.Groups, ","))
	}
	for _, g := range r.Groups {
		for _, note := range g.Notes {
			p.Linef("group %s: %s", g.Name, note)
		}
	}
	for _, u := range r.Users {
		for _, note := range u.Notes {
			p.Linef("user %s: %s", u.Name, note)
		}
	}
	if r.DryRun {
		p.Linef("Nothing was changed. Without --dry-run, the command imports them.")
	}
}
