package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/test/chaos"
)

// The jobs of an old cluster. One of the running ones trains, as on a new cluster.
const (
	endedJobs   = 500
	runningJobs = 20
	waitingJobs = 200
	// slower is how much longer the upgrade of an old cluster can take.
	slower = 1.1
)

// oldCluster compares the upgrade of a cluster with one job with that of a cluster
// that has run many. All jobs are submitted to the REST server of the older release,
// are admitted by its Kueue, and run or have run on its machine. What Kueue stores of
// them must be the same afterwards.
func (b *bench) oldCluster(ctx context.Context) error {
	one, err := b.upgradeWith(ctx, func(context.Context) error { return nil })
	if err != nil {
		return fmt.Errorf("a cluster with one job: %w", err)
	}
	many, err := b.upgradeWith(ctx, b.fill)
	if err != nil {
		return fmt.Errorf("an old cluster: %w", err)
	}
	verdict := "met"
	if many.took > slower*one.took {
		verdict = "missed"
	}
	b.row("PAI, "+chaos.From+" to "+chaos.To+" with one job: wall time", "%.1f s", one.took)
	b.row(fmt.Sprintf("PAI, the same with %d ended, %d waiting, %d running jobs", b.part(endedJobs), b.part(waitingJobs), b.part(runningJobs)), "%.1f s, %+.0f %% (goal: at most +10 %%, %s)",
		many.took, 100*(many.took/one.took-1), verdict)
	b.row("steps that take longer in the old cluster", "%s", secondsOf(addedSeconds(one.steps, many.steps)))
	return nil
}

// upgraded is an upgrade: its seconds and its steps.
type upgraded struct {
	took  float64
	steps []pai.StepRecord
}

// addedSeconds are the five steps that took most seconds more than before, with these.
func addedSeconds(before, after []pai.StepRecord) []pai.StepRecord {
	was := map[string]float64{}
	for _, s := range before {
		was[s.ID] = s.Seconds
	}
	more := slices.Clone(after)
	for i := range more {
		more[i].Seconds -= was[more[i].ID]
	}
	slices.SortStableFunc(more, func(a, b pai.StepRecord) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return more[:min(len(more), 5)]
}

// part is how many of the jobs are made.
func (b *bench) part(jobs int) int { return jobs * b.percent / 100 }

// upgradeWith boots the older release with one running job, prepares it, and upgrades
// it. What it returns is of the upgrade, with everything in place.
func (b *bench) upgradeWith(ctx context.Context, prepare func(context.Context) error) (upgraded, error) {
	c := b.cluster
	if err := c.Up(ctx, 1, "", nil); err != nil {
		return upgraded{}, err
	}
	defer func() { _ = c.Down(ctx) }() // what is left, the next run takes down
	if err := prepare(ctx); err != nil {
		return upgraded{}, err
	}
	if _, err := c.Run(ctx, 10*time.Minute, "upgrade", "stage", "--to", chaos.To, "--yes"); err != nil {
		return upgraded{}, err
	}
	if err := quiet(ctx); err != nil {
		return upgraded{}, err
	}
	before, err := c.Admissions(ctx)
	if err != nil {
		return upgraded{}, err
	}
	start := time.Now()
	if _, err := c.Run(ctx, 15*time.Minute, "upgrade", "apply", "--to", chaos.To, "--yes"); err != nil {
		return upgraded{}, err
	}
	took := time.Since(start).Seconds()
	op, err := b.lastOperation(ctx)
	if err != nil {
		return upgraded{}, err
	}
	after, err := c.Admissions(ctx)
	if err != nil {
		return upgraded{}, err
	}
	b.row("Kueue's workloads, the same UID, generation, and admission afterwards", "%d of %d", len(before)-len(chaos.ChangedAdmissions(before, after)), len(before))
	return upgraded{took, op.Steps}, errors.Join(chaos.ChangedAdmissions(before, after)...)
}

// quiet waits until this host is idle: an old cluster is one that has run many jobs, not
// one that has just ended 500.
func quiet(ctx context.Context) error {
	wait := poll.Wait{For: "a load average below 1", Timeout: 15 * time.Minute, Every: 5 * time.Second}
	return wait.Until(ctx, func(context.Context) (bool, error) {
		text, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			return false, err
		}
		load, _, _ := strings.Cut(string(text), " ")
		average, err := strconv.ParseFloat(load, 64)
		if err == nil && average >= 1 {
			err = fmt.Errorf("it is %s", load)
		}
		return err == nil, err
	})
}

// fill submits the jobs of an old cluster, and waits until they are in their states.
func (b *bench) fill(ctx context.Context) error {
	client, err := b.jobs()
	if err != nil {
		return err
	}
	start := time.Now()
	// The waiting ones come last and need more than is free.
	for _, kind := range []struct {
		name, command, cpu string
		count              int
		state              job.State
	}{
		{"ended", "true", "0.01", b.part(endedJobs), job.StateSucceeded},
		{"running", "sleep 1d", "0.01", b.part(runningJobs) - 1, job.StateRunning},
		{"waiting", "true", "64", b.part(waitingJobs), job.StateWaiting},
	} {
		if err := submitAll(ctx, client, kind.name, kind.command, kind.cpu, kind.count); err != nil {
			return err
		}
		wait := poll.Wait{For: fmt.Sprintf("%d %s jobs", kind.count, kind.name), Timeout: 15 * time.Minute, Every: 5 * time.Second}
		err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
			found, err := client.List(ctx, rest.Filter{State: kind.state})
			if err == nil && len(found) < kind.count {
				err = fmt.Errorf("%d are %s", len(found), kind.state)
			}
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	b.row("the jobs of the old cluster were submitted, and ran", "%.0f s", time.Since(start).Seconds())
	return nil
}

func submitAll(ctx context.Context, client *rest.Client, name, command, cpu string, count int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range count {
		group.Go(func() error {
			text := fmt.Sprintf(`protocolVersion: 2
name: %s-%d
type: job
prerequisites: [{name: example, type: dockerimage, uri: "pai.local/example:v1"}]
taskRoles:
  worker:
    instances: 1
    dockerImage: example
    resourcePerInstance: {cpu: %s, memoryMB: 16, gpu: 0}
    commands: [%q]
`, name, i, cpu, command)
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := client.Submit(ctx, rest.Submission{Protocol: []byte(text)})
			return err
		})
	}
	return group.Wait()
}

// jobs is a client of the REST server of the cluster.
func (b *bench) jobs() (*rest.Client, error) {
	files, err := filepath.Glob(filepath.Join(b.cluster.State, "clusters", "*", rest.AccessFile))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("find the access to the REST server in %s: %d files, %w", b.cluster.State, len(files), errors.Join(err, os.ErrNotExist))
	}
	access, err := rest.LoadAccess(files[0])
	if err != nil {
		return nil, err
	}
	return rest.NewClient(access)
}
