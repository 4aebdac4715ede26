// Command trainer is the program of the example job. It does what a training
// job does as far as PAI can see: it runs for a long time, prints one line per
// step, keeps its step in a checkpoint file if it is given one, and ends
// cleanly when it is told to.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	steps      int
	interval   time.Duration
	checkpoint string
}

func main() {
	var o options
	flag.IntVar(&o.steps, "steps", 0, "steps to train for; 0 trains until told to stop")
	flag.DurationVar(&o.interval, "interval", time.Second, "time that one step takes")
	flag.StringVar(&o.checkpoint, "checkpoint", "", "file that keeps the step, to go on from after a restart")
	flag.Parse()
	if flag.NArg() > 0 || o.steps < 0 || o.interval <= 0 {
		fmt.Fprintln(os.Stderr, "trainer: --steps must be 0 or more, --interval more than 0, and there are no arguments")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := train(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "trainer:", err)
		os.Exit(1)
	}
}

// train runs steps until there are enough or ctx ends. A job that is stopped
// ends with success: its step is kept.
func train(ctx context.Context, o options, out io.Writer) error {
	step, err := load(o.checkpoint)
	if err != nil {
		return err
	}
	if step > 0 {
		fmt.Fprintf(out, "resumed from step %d\n", step)
	}
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for o.steps == 0 || step < o.steps {
		select {
		case <-ctx.Done():
			fmt.Fprintf(out, "stopped at step %d\n", step)
			return nil
		case <-tick.C:
		}
		step++
		if err := save(o.checkpoint, step); err != nil {
			return err
		}
		fmt.Fprintf(out, "step %d loss %.4f\n", step, loss(step))
	}
	fmt.Fprintf(out, "done after %d steps\n", step)
	return nil
}

// loss falls towards 0.1 with a small ripple, as such curves do.
func loss(step int) float64 {
	x := float64(step)
	return 0.1 + 2.2/math.Sqrt(1+x/20) + 0.01*math.Sin(x)
}

func load(file string) (int, error) {
	if file == "" {
		return 0, nil
	}
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read checkpoint: %w", err)
	}
	step, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || step < 0 {
		return 0, fmt.Errorf("read checkpoint %s: %q is not a step", file, data)
	}
	return step, nil
}

// save replaces the checkpoint whole, so that a job killed at any moment finds one.
func save(file string, step int) error {
	if file == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(step)+"\n"), 0o644); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}
