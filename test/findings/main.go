// Command findings runs the tests that the documents name for the findings of the
// security audit and for the cases of the field, and writes which passed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func main() {
	root := flag.String("root", ".", "the repository")
	tagged := flag.Bool("e2e", false, "run tests with a build tag as well, which need root and bundles (hours)")
	log := flag.String("log", "", "file with the output of go test -v, to take the outcomes of tests with a build tag from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := renew(ctx, *root, *tagged, *log); err != nil {
		fmt.Fprintln(os.Stderr, "findings:", err)
		stop()
		os.Exit(1)
	}
}

// renew runs the tests and writes the report. The error names the tests that failed.
func renew(ctx context.Context, root string, tagged bool, log string) error {
	all, err := findings(root)
	if err != nil {
		return err
	}
	known, err := places(root)
	if err != nil {
		return err
	}
	file := filepath.Join(root, "docs/findings.md")
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	outcomes, ran := latest(string(before)), map[key]string{}
	if log != "" {
		if ran, err = readLog(log, known); err != nil {
			return err
		}
	}
	var problems []error
	for at, tests := range byPlace(all, known) {
		if at.tag != "" && !tagged {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %d tests %s\n", at.dir, len(tests), at.tag)
		found, err := run(ctx, root, at, tests, os.Stderr)
		if ctx.Err() != nil {
			return err
		}
		problems = append(problems, err)
		for k, outcome := range found {
			ran[k] = outcome
		}
	}
	for k, outcome := range ran {
		if before := outcomes[k]; outcome == skipped && before != "" && before != notRun {
			continue // it did not run
		}
		outcomes[k] = outcome + " " + time.Now().Format(time.DateOnly)
		if outcome == failed {
			problems = append(problems, fmt.Errorf("%s in %s failed", k.test, k.dir))
		}
	}
	if err := os.WriteFile(file, []byte(report(all, known, outcomes)), 0o644); err != nil {
		return err
	}
	return errors.Join(problems...)
}

// byPlace are the tests to run in each package.
func byPlace(all []finding, known map[string][]place) map[place][]string {
	tests := map[place][]string{}
	for _, f := range all {
		for _, test := range f.tests {
			for _, at := range known[test] {
				if !slices.Contains(tests[at], test) {
					tests[at] = append(tests[at], test)
				}
			}
		}
	}
	return tests
}
