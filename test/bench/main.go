// Command bench measures the figures that PAI wants to reach, on this host,
// with the real paictl, and prints each beside its goal. It has its own state directory
// and deletes what it made.
//
// With -cold it also builds everything from nothing, in separate caches.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	cold := flag.Bool("cold", false, "measure a cold demo as well: build everything from nothing (about half an hour)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b := &bench{state: filepath.Join(os.TempDir(), "pai-bench")}
	err := b.manyMachines(ctx)
	if err == nil {
		err = b.run(ctx, *cold)
	}
	b.print()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

type figure struct {
	name     string
	goal     time.Duration
	measured time.Duration
}

type bench struct {
	state   string
	extra   []string // environment
	figures []figure
	notes   []string
}

func (b *bench) run(ctx context.Context, cold bool) (err error) {
	if err := b.paictl(ctx, "down", "--yes"); err != nil {
		return fmt.Errorf("clear the remains of an earlier run: %w", err)
	}
	defer func() {
		// Ctrl-C must not leave machines behind.
		if downErr := b.paictl(context.WithoutCancel(ctx), "down", "--yes"); err == nil {
			err = downErr
		}
	}()
	if cold {
		if err := b.coldDemo(ctx); err != nil {
			return err
		}
	}
	if err := b.time(ctx, "demo, warm", 4*time.Minute, "hack/demo.sh"); err != nil {
		return err
	}
	if err := b.paictl(ctx, "down", "--yes"); err != nil {
		return err
	}
	if err := b.hops(ctx); err != nil {
		return err
	}
	return b.boot(ctx)
}

// coldDemo runs the demo with empty caches, Go's build cache included; what Go
// has downloaded stays.
func (b *bench) coldDemo(ctx context.Context) error {
	caches, err := os.MkdirTemp("", "pai-bench-cold-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(caches)
	b.extra = []string{"PAI_CACHE_DIR=" + filepath.Join(caches, "pai"), "GOCACHE=" + filepath.Join(caches, "go")}
	defer func() { b.extra = nil }()
	if err := b.time(ctx, "demo, cold", 40*time.Minute, "hack/demo.sh"); err != nil {
		return err
	}
	return b.paictl(ctx, "down", "--yes")
}

// The releases between which the upgrades go.
const (
	older = "v0.10"
	newer = "v0.11"
)

// hops upgrades Kubernetes and the services one after the other under a job.
func (b *bench) hops(ctx context.Context) error {
	// Both bundles are signed before the clock starts: down deletes the key.
	for _, command := range [][]string{{"release", "build", older, newer}, {"up", "--release", older, "--yes"}, {"job", "submit", "examples/train.yaml"}} {
		if err := b.paictl(ctx, command...); err != nil {
			return err
		}
	}
	if err := b.time(ctx, "Kubernetes hop "+older+"-pai to "+newer+"-pai", time.Minute, "bin/paictl", "upgrade", "apply", "--to", newer, "--kubernetes", "--yes"); err != nil {
		return err
	}
	if err := b.outages(ctx); err != nil {
		return err
	}
	return b.time(ctx, "services hop "+older+" to "+newer, 2*time.Minute, "bin/paictl", "upgrade", "apply", "--to", newer, "--yes")
}

func (b *bench) outages(ctx context.Context) error {
	cmd := b.command(ctx, "bin/paictl", "upgrade", "history", "-o", "json")
	cmd.Stdout = nil
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	type gaps struct{ OutageSeconds float64 }
	var operations []struct {
		API struct {
			gaps
			Kept gaps
		}
	}
	if err := json.Unmarshal(out, &operations); err != nil || len(operations) == 0 {
		return fmt.Errorf("read the report %q: %w", out, err)
	}
	api := operations[len(operations)-1].API
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	b.figures = append(b.figures,
		figure{"  API unavailable in it, new connections", 10 * time.Second, seconds(api.OutageSeconds)},
		figure{"  API unavailable in it, kept connections", 10 * time.Second, seconds(api.Kept.OutageSeconds)})
	return nil
}

// boot stops the job, wipes the cluster off its machine and boots it again.
func (b *bench) boot(ctx context.Context) error {
	if err := b.paictl(ctx, "job", "stop", "train"); err != nil {
		return err
	}
	if err := b.jobEnded(ctx); err != nil {
		return err
	}
	if err := b.paictl(ctx, "cluster", "k8s-clean", "--delete-data", "--yes"); err != nil {
		return err
	}
	return b.time(ctx, "boot command to node Ready", 15*time.Second, "bin/paictl", "cluster", "k8s-bootup", "--yes")
}

// jobEnded waits until the job that was stopped has ended: its tasks have half
// a minute for that, and a machine is not wiped under them.
func (b *bench) jobEnded(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the stopped job has not ended within 2 minutes"))
	defer cancel()
	var seen string
	for {
		cmd := b.command(ctx, "bin/paictl", "job", "show", "train", "-o", "json")
		cmd.Stdout = nil
		out, err := cmd.Output()
		if err == nil && strings.Contains(string(out), `"STOPPED"`) {
			return nil
		}
		if ctx.Err() == nil {
			seen = fmt.Sprintf("%s (error %v)", out, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the job's end: %w; last seen: %s", context.Cause(ctx), seen)
		case <-time.After(time.Second):
		}
	}
}

// manyMachines executes an upgrade of 300 simulated machines: a test prints
// figures in lines that begin with FIGURE.
func (b *bench) manyMachines(ctx context.Context) error {
	start := time.Now()
	cmd := b.command(ctx, "go", "test", "-tags", "scale", "-count=1", "-timeout", "15m", "-run", "TestExecute300Machines", "-v", "./internal/operation")
	cmd.Stdout = nil
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("execute an upgrade of 300 machines: %w\n%s", err, out)
	}
	took := time.Since(start)
	for line := range strings.Lines(string(out)) {
		text, found := strings.CutPrefix(strings.TrimSpace(line), "FIGURE ")
		if !found {
			continue
		}
		b.notes = append(b.notes, text)
		seconds := 0.0
		if n, _ := fmt.Sscanf(text, "execute 300 machines: %f s", &seconds); n == 1 {
			took = time.Duration(seconds * float64(time.Second))
		}
	}
	b.figures = append(b.figures, figure{"upgrade of 300 simulated machines", 4 * time.Minute, took})
	return nil
}

func (b *bench) time(ctx context.Context, name string, goal time.Duration, program string, args ...string) error {
	start := time.Now()
	if err := b.command(ctx, program, args...).Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.figures = append(b.figures, figure{name, goal, time.Since(start)})
	return nil
}

func (b *bench) paictl(ctx context.Context, args ...string) error {
	if err := b.command(ctx, "bin/paictl", args...).Run(); err != nil {
		return fmt.Errorf("paictl %s: %w", args[0], err)
	}
	return nil
}

// command shows what it does on standard error: standard output is the table.
func (b *bench) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), "PAI_STATE_DIR="+b.state), b.extra...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

func (b *bench) print() {
	fmt.Printf("\n%-38s %12s %12s\n", "FIGURE", "GOAL", "MEASURED")
	for _, f := range b.figures {
		mark := ""
		if f.measured > f.goal {
			mark = "  missed"
		}
		fmt.Printf("%-38s %12s %12s%s\n", f.name, f.goal, f.measured.Round(10*time.Millisecond), mark)
	}
	for _, n := range b.notes {
		fmt.Println("  " + n)
	}
}
