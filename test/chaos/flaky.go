package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// besides is a job that runs beside the one that must not notice anything.
type besides struct {
	name     string
	tasks    int
	memoryMB int
	command  string
}

const (
	flakyJob  = "flaky"
	hungryJob = "hungry"
	victimJob = "victim"
)

// flakyJobs are twenty tasks that fail at random moments, four that exceed their own
// memory limit, and one that runs until the fault kills it. Kubernetes waits longer
// and longer before it starts a task again, so one hungry task can miss an upgrade.
func flakyJobs() []besides {
	const randomMoment = "sleep $((3 + $(od -An -N2 -tu2 /dev/urandom) % 38)); "
	return []besides{
		{flakyJob, 20, 16, randomMoment + "exit 1"},
		{hungryJob, 4, 32, randomMoment + "x=a; while true; do x=$x$x; done"},
		{victimJob, 1, 16, "sleep 100000"},
	}
}

// protocol is the job as a user writes it. Every task is retried a thousand times.
func (b besides) protocol() string {
	return fmt.Sprintf(`protocolVersion: 2
name: %s
type: job
prerequisites:
  - {name: example, type: dockerimage, uri: "pai.local/example:v1"}
taskRoles:
  worker:
    instances: %d
    taskRetryCount: 1000
    dockerImage: example
    resourcePerInstance: {cpu: 0.02, memoryMB: %d, gpu: 0}
    commands: ['%s']
defaults:
  virtualCluster: default
`, b.name, b.tasks, b.memoryMB, b.command)
}

// submitFlaky submits the jobs and waits until every task runs.
func submitFlaky(ctx context.Context, c *Cluster) error {
	dir, err := os.MkdirTemp("", "pai-chaos-jobs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, b := range flakyJobs() {
		file := filepath.Join(dir, b.name+".yaml")
		if err := os.WriteFile(file, []byte(b.protocol()), 0o600); err != nil {
			return err
		}
		if _, err := c.Run(ctx, time.Minute, "job", "submit", file); err != nil {
			return err
		}
	}
	return c.await(ctx, 3*time.Minute, "the victim and most flaky tasks run", func(ctx context.Context) (bool, error) {
		found, err := c.jobContainers(ctx)
		victims := slices.DeleteFunc(slices.Clone(found), func(k Container) bool { return !strings.Contains(k.Pod, victimJob) })
		if len(victims) == 1 {
			c.victim = victims[0]
		}
		return len(victims) == 1 && len(found) >= 15, err
	})
}

// killVictim ends the victim through containerd while the kubelet of its machine is
// replaced, a step that can end containers there.
func killVictim() Inject {
	return inSteps([]string{"machine/pai-1/kubelet"}, func(ctx context.Context, c *Cluster, a *Attempt, step string) error {
		a.within(300 * time.Millisecond)
		id := strings.TrimPrefix(c.victim.ID, "containerd://")
		c.logf("  killing %s of %s in %s", id, c.victim.Pod, step)
		_, err := c.inside(ctx, "pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io task kill -s SIGKILL "+id)
		return err
	})()
}

// ended is the end of one container in the report of an operation.
type ended struct {
	Job, Pod, Container, Step, Cause string
	Evidence                         []string
}

// checkFlaky returns what is wrong with the ends that operations reported. The
// victim, and only it, was interrupted. Flaky tasks and the hungry one failed. A
// flaky task can be unknown if it ended while a step could end it, or after such a
// task of its job; the job that must not notice anything has no end.
func checkFlaky(operations []operation, victim Container) (problems []string) {
	killed, failed, hungry := 0, 0, 0
	of := func(e ended, job string) bool { return strings.HasSuffix(e.Job, "~"+job) }
	for _, o := range operations {
		for _, e := range o.Jobs.Failed {
			switch {
			case of(e, flakyJob):
				failed++
			case of(e, hungryJob) && strings.Contains(e.Cause, "OOMKilled"):
				hungry++
			default:
				problems = append(problems, fmt.Sprintf("operation %s says that it failed by itself: %+v", o.ID, e))
			}
		}
		for _, e := range o.Jobs.Interrupted {
			if of(e, victimJob) && e.Pod == victim.Pod {
				killed++
				continue
			}
			problems = append(problems, fmt.Sprintf("operation %s says that it was interrupted: %+v", o.ID, e))
		}
		says := func(e ended, what string) bool {
			return slices.ContainsFunc(e.Evidence, func(line string) bool { return strings.Contains(line, what) })
		}
		inStep := func(e ended) bool { return says(e, "able to end it") }
		for _, e := range o.Jobs.Unknown {
			after := says(e, "might be the cause") && slices.ContainsFunc(o.Jobs.Unknown, inStep)
			if !inStep(e) && !after || !of(e, flakyJob) && !of(e, hungryJob) {
				problems = append(problems, fmt.Sprintf("operation %s does not know how it ended: %+v", o.ID, e))
			}
		}
	}
	if killed != 1 {
		problems = append(problems, fmt.Sprintf("the killed container is reported as interrupted %d times, not once", killed))
	}
	if failed == 0 || hungry == 0 {
		problems = append(problems, fmt.Sprintf("%d flaky tasks and %d hungry ones are reported as failed by themselves, want some of each", failed, hungry))
	}
	return problems
}
