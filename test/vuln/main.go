// Command vuln runs govulncheck over every module that PAI compiles: its own programs
// and all components. It reports vulnerabilities that the programs call and that
// docs/advisories.md does not list.
//
// It exits with 0 if there are none, with 1 if there are some, and with 2 if it could
// not check everything, for example because the database is unreachable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const databaseTimeout = 30 * time.Second

// errFound says that programs call vulnerabilities that the page does not list.
var errFound = errors.New("vulnerabilities were found")

// errUnreachable is the error of a database that cannot be reached.
var errUnreachable = errors.New("the vulnerability database is unreachable")

func main() {
	database := flag.String("db", "https://vuln.go.dev", "the vulnerability database: an https URL, or file:// and a directory of OSV files")
	only := flag.String("only", "", "part of the directory of a module (default: all modules)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Stdout, *database, *only)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "vuln:", err)
	stop()
	switch {
	case errors.Is(err, errFound):
		os.Exit(1)
	case errors.Is(err, errUnreachable):
		os.Exit(3)
	default:
		os.Exit(2)
	}
}

func run(ctx context.Context, out io.Writer, database, only string) error {
	if err := reach(ctx, database); err != nil {
		return fmt.Errorf("NOTHING WAS CHECKED: %w: %w; docs/advisories.md has what was known on its date", errUnreachable, err)
	}
	page, err := os.ReadFile("docs/advisories.md")
	if err != nil {
		return err
	}
	modules, err := findModules(os.DirFS("."), only)
	if err != nil {
		return err
	}
	unlisted := 0
	for _, m := range modules {
		fmt.Fprintf(out, "checking %s\n", m.dir)
		stream, err := govulncheck(ctx, database, m)
		if err != nil {
			return fmt.Errorf("NOT EVERYTHING WAS CHECKED: check %s: %w", m.dir, err)
		}
		found, err := readFindings(stream)
		if err != nil {
			return fmt.Errorf("NOT EVERYTHING WAS CHECKED: read the findings of %s: %w", m.dir, err)
		}
		for _, f := range found {
			listed := f.listed(string(page))
			if !listed && f.called {
				unlisted++
			}
			fmt.Fprintln(out, f.line(listed))
		}
	}
	if unlisted > 0 {
		return fmt.Errorf("%w: %d that docs/advisories.md does not list; take the fixed version, or add a row with the reason", errFound, unlisted)
	}
	fmt.Fprintf(out, "checked %d modules: the programs call no vulnerability that docs/advisories.md does not list\n", len(modules))
	return nil
}

// reach reports whether a database answers. A directory is read by govulncheck alone.
func reach(ctx context.Context, database string) error {
	if dir, ok := strings.CutPrefix(database, "file://"); ok {
		_, err := os.Stat(dir)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, database+"/index/db.json", nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: databaseTimeout}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	return nil
}
