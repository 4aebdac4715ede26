// Command benchupgrade measures PAI's upgrade of Kubernetes beside kubeadm's
// on local machines of this host, one after the other, both sampled alike, and
// what an upgrade costs besides. Its table is kept in docs/benchmarks.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/test/chaos"
)

func main() {
	parts := flag.String("parts", "pai,kubeadm,helm,scale,old", "what to measure")
	paictl := flag.String("paictl", "bin/paictl", "the program")
	percent := flag.Int("percent", 100, "how many of the jobs of an old cluster to make")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	b := &bench{percent: *percent}
	err := b.run(ctx, strings.Split(*parts, ","), *paictl)
	stop()
	b.print()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-upgrade:", err)
		os.Exit(1)
	}
}

type bench struct {
	cluster *chaos.Cluster
	percent int // of the jobs of an old cluster
	rows    [][2]string
}

func (b *bench) row(name, format string, args ...any) {
	b.rows = append(b.rows, [2]string{name, fmt.Sprintf(format, args...)})
	fmt.Fprintf(os.Stderr, "== %s: %s\n", name, b.rows[len(b.rows)-1][1])
}

func (b *bench) print() {
	for _, r := range b.rows {
		fmt.Printf("| %s | %s |\n", r[0], r[1])
	}
}

func (b *bench) run(ctx context.Context, parts []string, paictl string) (err error) {
	source, err := os.Getwd()
	if err != nil {
		return err
	}
	if paictl, err = filepath.Abs(paictl); err != nil {
		return err
	}
	state := os.Getenv("PAI_STATE_DIR")
	if state == "" {
		state = filepath.Join(os.TempDir(), "pai-bench-upgrade")
	}
	b.cluster = &chaos.Cluster{Paictl: paictl, Source: source, State: state, Job: "examples/train.yaml", Log: os.Stderr}
	if _, err := b.cluster.Sign(ctx); err != nil {
		return err
	}
	defer func() {
		if downErr := b.cluster.Down(ctx); err == nil {
			err = downErr
		}
	}()
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"pai", b.pai}, {"kubeadm", b.kubeadm}, {"helm", b.helm}, {"scale", b.scale}, {"old", b.oldCluster}} {
		if !slices.Contains(parts, part.name) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// sampled runs something while an API is sampled as PAI's witness does it.
func (b *bench) sampled(ctx context.Context, name string, cfg *rest.Config, do func() error) error {
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		counted witness.Counted
		err     error
	}
	counted := make(chan answer, 1)
	go func() {
		c, err := witness.Sample(sampling, cfg)
		counted <- answer{c, err}
	}()
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	b.row(name+": wall time", "%.1f s", time.Since(start).Seconds())
	select { // what breaks a moment later is part of it
	case <-time.After(10 * time.Second):
	case <-ctx.Done():
	}
	stop()
	a := <-counted
	if a.err != nil {
		return a.err
	}
	b.row(name+": API unavailable, new connections", "%.1f s, longest %.1f s", a.counted.New.OutageSeconds, a.counted.New.LongestGapSeconds)
	b.row(name+": API unavailable, kept connections", "%.1f s, longest %.1f s", a.counted.Kept.OutageSeconds, a.counted.Kept.LongestGapSeconds)
	if a.counted.UnobservedSeconds > 0 {
		b.row(name+": unobserved", "%.1f s", a.counted.UnobservedSeconds)
	}
	return nil
}

// scale runs the test that plans and guards many machines; its lines that
// begin with FIGURE are figures.
func (b *bench) scale(ctx context.Context) error {
	if _, err := b.cluster.Sign(ctx); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "scale", "-count=1", "-timeout", "30m", "-run", "TestScale", "-v", "./internal/operation")
	cmd.Env = append(os.Environ(), "PAI_STATE_DIR="+b.cluster.State)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "FIGURE "); ok {
			name, value, _ := strings.Cut(text, ": ")
			b.row("5,000 nodes, 50,000 pods: "+name, "%s", value)
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
