// Command mutants shows that the tests detect faults: it puts the faults listed in
// faults/, one file for each package, into a copy of this repository, one at a time, runs the tests
// that should notice, and prints which did.
//
// A fault is an exact text of one file and what stands there instead. A text
// that is not found exactly once is an error, so the list cannot grow stale
// unnoticed; so is a fault that does not compile, or a test that fails without it.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	only := flag.String("only", "", "names of the faults to try, with commas between them (default: all)")
	save := flag.String("save", "", "file with the table of all faults: the outcomes of this run take the place of earlier ones")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, *only, *save); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(1)
	}
}

//go:embed faults/*.yaml
var lists embed.FS

func run(ctx context.Context, only, save string) error {
	mutants, err := parse(lists)
	if err != nil {
		return err
	}
	chosen, err := choose(mutants, only)
	if err != nil {
		return err
	}
	root, err := repository(ctx)
	if err != nil {
		return err
	}
	copied, err := os.MkdirTemp("", "pai-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	if err := copyTree(ctx, root, copied); err != nil {
		return err
	}
	tree, err := treeDigest(copied)
	if err != nil {
		return err
	}
	state, err := stateDir()
	if err != nil {
		return err
	}
	known, err := openKnown(state, tree)
	if err != nil {
		return err
	}
	results, err := tryAll(ctx, copied, chosen, known)
	fmt.Print("\n" + markdown(rowsOf(results)))
	err = errors.Join(err, known.close())
	if save != "" {
		err = errors.Join(err, saveTable(filepath.Join(root, save), mutants, results))
	}
	if err != nil {
		return err
	}
	return verdict(results)
}

// tryAll tries each fault. If it returns an error, it also returns the results so far.
func tryAll(ctx context.Context, dir string, mutants []mutant, known *known) ([]result, error) {
	sound := map[string]bool{} // tests that pass without any fault
	var results []result
	for i, m := range mutants {
		start := time.Now()
		fmt.Fprintf(os.Stderr, "[%d/%d] %s: %s\n", i+1, len(mutants), m.Name, m.Fault)
		if failed, ok := known.noticed[m.Name]; ok {
			fmt.Fprintln(os.Stderr, "      an earlier run over the same tree noticed it")
			results = append(results, result{m, outcome{kind: killed, failed: failed}})
			continue
		}
		if tests := strings.Join(m.args(), " "); !sound[tests] {
			if o := passes(ctx, dir, m); o.kind != survived {
				return results, fmt.Errorf("%s: go %s does not pass without a fault:\n%s", m.Name, tests, o.output)
			}
			sound[tests] = true
		}
		outcome, err := m.try(ctx, dir)
		if err != nil {
			return results, err
		}
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		fmt.Fprintf(os.Stderr, "      %s %s (%.0f s)\n", outcome.kind, tests(result{m, outcome}), time.Since(start).Seconds())
		if outcome.kind == broken {
			fmt.Fprintln(os.Stderr, outcome.output)
		}
		results = append(results, result{m, outcome})
		if err := known.add(result{m, outcome}); err != nil {
			return results, err
		}
	}
	return results, nil
}

// passes runs tests without a fault, again when they fail: some measure time,
// and may be starved on a busy host.
func passes(ctx context.Context, dir string, m mutant) outcome {
	const tries = 3
	var o outcome
	for range tries {
		if o = goTest(ctx, dir, m); o.kind == survived || ctx.Err() != nil {
			break
		}
	}
	return o
}

func verdict(results []result) error {
	var bad []string
	for _, r := range results {
		if r.kind != killed {
			bad = append(bad, r.Name+" "+string(r.kind))
		}
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, ", "))
	}
	return nil
}
