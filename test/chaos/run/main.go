// Command chaos puts faults into upgrades of a local cluster and prints the
// result of each: how often, converged, interrupted. See docs/chaos.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"pai.dev/pai/test/chaos"
)

func main() {
	rounds := flag.Int("rounds", 1, "how often each fault is put in")
	names := flag.String("fault", "", "faults by name, with commas (default: all); list shows them")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random instants")
	reference := flag.String("undisturbed", "", "file that the undisturbed upgrade's end is kept in, and read from when it is there; - compares nothing")
	ends := flag.String("ends", "", "directory for the state in which every round ends")
	paictl := flag.String("paictl", "bin/paictl", "the program")
	keep := flag.Bool("keep", false, "leave the last cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ok, err := run(ctx, options{*rounds, *names, *seed, *reference, *ends, *paictl, *keep})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

type options struct {
	rounds    int
	names     string
	seed      uint64
	reference string
	ends      string
	paictl    string
	keep      bool
}

func run(ctx context.Context, o options) (ok bool, err error) {
	all := chaos.Faults(rand.New(rand.NewPCG(o.seed, 0)))
	if o.names == "list" {
		for _, f := range all {
			fmt.Printf("%-18s %s\n", f.Name, f.What)
		}
		return true, nil
	}
	chosen, err := choose(all, o.names)
	if err != nil {
		return false, err
	}
	source, err := os.Getwd()
	if err != nil {
		return false, err
	}
	paictl, err := filepath.Abs(o.paictl)
	if err != nil {
		return false, err
	}
	state := os.Getenv("PAI_STATE_DIR")
	if state == "" {
		state = filepath.Join(os.TempDir(), "pai-chaos")
	}
	c := &chaos.Cluster{Paictl: paictl, Source: source, State: state, Job: "examples/train.yaml", Log: os.Stderr}
	if _, err := c.Sign(ctx); err != nil {
		return false, err
	}
	if !o.keep {
		defer func() {
			if downErr := c.Down(ctx); err == nil {
				err = downErr
			}
		}()
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", o.seed)
	results, err := chaos.Run(ctx, c, chosen, o.rounds, o.reference, o.ends)
	return print(results), err
}

func choose(all []chaos.Fault, names string) ([]chaos.Fault, error) {
	if names == "" {
		return all, nil
	}
	var chosen []chaos.Fault
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(f chaos.Fault) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q; -fault list shows those there are", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// print prints the table, and what differed; false when anything did.
func print(results []chaos.Result) bool {
	ok := true
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAULT\tTIMES\tCOMMANDS\tCONVERGED\tINTERRUPTED\tSECONDS")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%.0f\n", r.Fault, r.Times, r.Commands, r.Converged, r.Interrupted, r.Took.Seconds())
	}
	_ = t.Flush() // a closed terminal reads nothing
	for _, r := range results {
		for _, line := range r.Remarks {
			ok = false
			fmt.Printf("\n%s: %s", r.Fault, line)
		}
	}
	fmt.Println()
	return ok
}
