package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/nspawn"
)

// Cluster is one cluster of local machines that faults are put into.
type Cluster struct {
	Paictl string // the program
	Source string // PAI's source tree, in which it runs
	State  string // PAI_STATE_DIR
	Job    string // the job that must not notice anything; none when it is empty
	Log    io.Writer

	ends       string      // directory for the states in which rounds end
	containers []Container // of the job, as they were before the upgrade
	victim     Container   // that a fault is to end
}

// From and To are the releases between which the upgrades go.
const (
	From = "v0.10"
	To   = "v0.11"
)

func (c *Cluster) logf(format string, args ...any) {
	fmt.Fprintf(c.Log, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

func (c *Cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Paictl, args...)
	cmd.Dir = c.Source
	cmd.Env = append(os.Environ(), "PAI_STATE_DIR="+c.State)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs paictl and returns its standard output; an error carries the rest.
func (c *Cluster) Run(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := c.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("paictl %s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Down takes the cluster and its machines away, also what a killed run left.
func (c *Cluster) Down(ctx context.Context) error {
	_, err := c.Run(context.WithoutCancel(ctx), 3*time.Minute, "down", "--yes")
	return err
}

// Sign builds the bundles of both releases, which is nothing but signing them
// where that was done before: Down deletes the key that they were signed
// with, and an upgrade that is timed must not find that out while it runs. It
// returns the paictl of the old release.
func (c *Cluster) Sign(ctx context.Context) (paictl string, err error) {
	out, err := c.Run(ctx, time.Hour, "release", "build", From, To, "-o", "json")
	if err != nil {
		return "", err
	}
	var built []struct{ Release, Paictl string }
	if err := json.Unmarshal([]byte(out), &built); err != nil {
		return "", fmt.Errorf("read the output of release build: %w\n%s", err, out)
	}
	if len(built) != 2 || built[0].Paictl == "" {
		return "", fmt.Errorf("the build of %s names no paictl:\n%s", From, out)
	}
	return built[0].Paictl, nil
}

// Up makes a cluster of the old release from nothing, with the paictl of that
// release, and starts a job on it.
// prepare, which may be nil, is called with bare machines. Nothing of the job
// is placed on the machine named idle; an empty name leaves the choice open.
func (c *Cluster) Up(ctx context.Context, machines int, idle string, prepare func(context.Context, *Cluster) error) error {
	start := time.Now()
	if err := c.Down(ctx); err != nil {
		return err
	}
	older, err := c.Sign(ctx)
	if err != nil {
		return err
	}
	if prepare != nil {
		if _, err := c.Run(ctx, 3*time.Minute, "machine", "up", "--count", fmt.Sprint(machines)); err != nil {
			return err
		}
		if err := prepare(ctx, c); err != nil {
			return fmt.Errorf("prepare the machines: %w", err)
		}
	}
	previous := *c
	previous.Paictl = older
	if _, err := previous.Run(ctx, 10*time.Minute, "up", "--release", From, "--machines", fmt.Sprint(machines), "--yes"); err != nil {
		return err
	}
	if idle != "" {
		if _, err := c.kubectl(ctx, "cordon "+idle); err != nil {
			return err
		}
	}
	if c.Job != "" {
		if err := c.startJob(ctx); err != nil {
			return err
		}
	}
	if idle != "" {
		if _, err := c.kubectl(ctx, "uncordon "+idle); err != nil {
			return err
		}
	}
	c.logf("PAI %s, after %s", From, time.Since(start).Round(time.Second))
	return nil
}

// startJob submits the job and waits until it runs.
func (c *Cluster) startJob(ctx context.Context) error {
	if _, err := c.Run(ctx, time.Minute, "job", "submit", c.Job); err != nil {
		return err
	}
	return c.await(ctx, 3*time.Minute, "the job runs", func(ctx context.Context) (bool, error) {
		found, err := c.jobContainers(ctx)
		c.containers = found
		return len(found) == 2, err
	})
}

// await asks until the answer is yes.
func (c *Cluster) await(ctx context.Context, limit time.Duration, what string, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		ok, err := ask(ctx)
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s (%w)", what, limit, errors.Join(err, ctx.Err()))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// undoTimeout bounds how long a fault may take to go.
const undoTimeout = time.Minute

// undo is inside for what removes a fault from the machine that faults
// are put into: also when the round was interrupted, and not without an end.
func (c *Cluster) undo(ctx context.Context, script string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, err := c.inside(ctx, "pai-1", script)
	return err
}

// inside runs a script as root within a machine, from the host: without ssh,
// which may be what is broken.
func (c *Cluster) inside(ctx context.Context, name, script string) (string, error) {
	leader, err := c.leader(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "nsenter", "-t", fmt.Sprint(leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", "/bin/sh", "-eu", "-c", script)
	cmd.WaitDelay = 2 * time.Second
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("on %s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Address is the address of a machine, as paictl says it.
func (c *Cluster) Address(ctx context.Context, name string) (string, error) {
	out, err := c.Run(ctx, time.Minute, "machine", "list", "-o", "json")
	if err != nil {
		return "", err
	}
	var machines []struct{ Name, Address string }
	if err := json.Unmarshal([]byte(out), &machines); err != nil {
		return "", fmt.Errorf("read the list of machines: %w", err)
	}
	for _, m := range machines {
		if m.Name == name && m.Address != "" {
			return m.Address, nil
		}
	}
	return "", fmt.Errorf("machine %s has no address: %s", name, out)
}

// leader is the host's number of a machine's first process.
func (c *Cluster) leader(name string) (int, error) {
	mark, err := nspawn.Local{StateDir: c.State}.Mark()
	if err != nil {
		return 0, err
	}
	wanted := "--machine=" + mark + strings.TrimPrefix(name, "pai")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		data, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue // not a process, or no more
		}
		args := strings.Split(string(data), "\x00")
		if !strings.HasSuffix(args[0], "systemd-nspawn") || !slices.Contains(args, wanted) {
			continue
		}
		data, err = os.ReadFile(fmt.Sprintf("/proc/%s/task/%[1]s/children", e.Name()))
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(data)) {
			comm, err := os.ReadFile("/proc/" + child + "/comm")
			if err == nil && strings.TrimSpace(string(comm)) == "systemd" {
				var pid int
				_, err := fmt.Sscan(child, &pid)
				return pid, err
			}
		}
	}
	return 0, fmt.Errorf("machine %s does not run", name)
}

// kubectl runs the cluster's own kubectl on the control-plane machine.
func (c *Cluster) kubectl(ctx context.Context, args string) (string, error) {
	return c.inside(ctx, "pai-1", "KUBECONFIG=/etc/kubernetes/admin.conf exec /opt/pai/role/kubelet/bin/kubectl --request-timeout=20s "+args)
}

// Container is what identifies a running container of a job. If any of it
// changes, the container is not the one it was.
type Container struct {
	Pod, UID, Container, ID, Started string
	Restarts                         int
}

// jobContainers reads the running containers of all jobs from the API, without
// the reader of PAI, in order.
func (c *Cluster) jobContainers(ctx context.Context) ([]Container, error) {
	out, err := c.kubectl(ctx, "get pods -A -l pai.dev/job -o json")
	if err != nil {
		return nil, err
	}
	var pods struct {
		Items []struct {
			Metadata struct{ Name, UID string }
			Status   struct {
				ContainerStatuses []struct {
					Name, ContainerID string
					RestartCount      int
					State             struct {
						Running *struct{ StartedAt string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &pods); err != nil {
		return nil, fmt.Errorf("read the job's pods: %w", err)
	}
	var found []Container
	for _, p := range pods.Items {
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Running != nil {
				found = append(found, Container{Pod: p.Metadata.Name, UID: p.Metadata.UID, Container: s.Name, ID: s.ContainerID,
					Started: s.State.Running.StartedAt, Restarts: s.RestartCount})
			}
		}
	}
	slices.SortFunc(found, func(a, b Container) int { return strings.Compare(a.Pod+a.Container, b.Pod+b.Container) })
	return found, nil
}
