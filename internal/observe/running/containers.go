package running

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Container is a running container on a machine.
type Container struct {
	ID        string
	PID       int
	Namespace string // of its pod
	Pod       string
	PodUID    string
	Name      string // in the pod
}

// OfJob reports whether the container might belong to a job. Jobs have dedicated
// namespaces; a container without a namespace might belong to one.
func (c Container) OfJob() bool {
	return c.Namespace == "" || strings.HasPrefix(c.Namespace, pai.VirtualClusterNamespacePrefix)
}

// MachineReport has the containers of a machine, or Err if they are unknown.
type MachineReport struct {
	// Boot is the boot ID of the kernel, which changes with each reboot; empty if
	// unknown.
	Boot string
	// Stopping is true while the machine shuts down.
	Stopping   bool
	Containers []Container
	Err        error
}

// machineTimeout limits the list of containers of one machine.
const machineTimeout = 10 * time.Second

// listScript prints the boot ID and the state of systemd ("stopping" during a
// shutdown, systemctl(1) is-system-running) in the first line. Then it prints the
// running containers, one per line: ID, PID, namespace, pod, UID, and container
// name, separated by tabs.
//
// It reads the bundle directories of the shims (github.com/containerd/containerd/v2
// core/runtime/v2, "state" of the plugin io.containerd.runtime.v2.task), and checks
// that the first process of each container is in the cgroup of the container. This
// works while containerd is stopped or replaced, and costs one process.
const listScript = `read -r boot < /proc/sys/kernel/random/boot_id || boot=
state=$(timeout 2 systemctl is-system-running 2>/dev/null || :)
printf 'boot %s %s\n' "$boot" "$state"
if ! cd ` + layout.ContainerdTasks + `/k8s.io 2>/dev/null; then
  if grep -qs '^containerd-shim' /proc/[0-9]*/comm; then echo 'containers run outside of the expected directory' >&2; exit 1; fi
  exit 0
fi
for id in *; do
  pid=; { read -r pid < "$id/init.pid"; } 2>/dev/null || :
  [ -n "$pid" ] || continue
  alive=; while read -r line; do case "$line" in *"$id"*) alive=1; break;; esac; done 2>/dev/null < "/proc/$pid/cgroup" || :
  [ -n "$alive" ] || continue
  printf '%s %s\n' "$id" "$pid"
done | awk '
function field(text, key,   p, v) {
  p = index(text, "\"io.kubernetes.cri." key "\":\"")
  if (!p) return ""
  v = substr(text, p + length(key) + 22)
  return substr(v, 1, index(v, "\"") - 1)
}
{ id = $1; pid = $2; file = id "/config.json"; text = ""
  while ((getline line < file) > 0) text = text line
  close(file)
  if (field(text, "container-type") != "sandbox")
    printf "%s\t%s\t%s\t%s\t%s\t%s\n", id, pid, field(text, "sandbox-namespace"), field(text, "sandbox-name"), field(text, "sandbox-uid"), field(text, "container-name") }'
`

// Containers lists the running containers of pods on a machine.
func Containers(ctx context.Context, host machine.Host) ([]Container, error) {
	m := ask(ctx, host)
	return m.Containers, m.Err
}

func ask(ctx context.Context, host machine.Host) (m MachineReport) {
	ctx, cancel := context.WithTimeoutCause(ctx, machineTimeout, fmt.Errorf("machine %s did not list its containers within %s", host.Name(), machineTimeout))
	defer cancel()
	out, err := host.Run(ctx, machine.Command{Script: listScript})
	if err == nil {
		m, err = parseMachine(out.Stdout)
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return MachineReport{Err: fmt.Errorf("list the containers of %s: %w", host.Name(), err)}
	}
	return m
}

func parseMachine(text string) (m MachineReport, err error) {
	first, containers, _ := strings.Cut(text, "\n")
	boot, ok := strings.CutPrefix(first, "boot ")
	if !ok { // a container must not be treated as the boot line
		return m, fmt.Errorf("the first line %q has no boot ID", first)
	}
	boot, state, _ := strings.Cut(boot, " ")
	m.Boot, m.Stopping = boot, state == "stopping"
	m.Containers, err = parseContainers(containers)
	return m, err
}

func parseContainers(text string) ([]Container, error) {
	var list []Container
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 6 {
			return nil, fmt.Errorf("line %q is not ID, PID, namespace, pod, UID, name", line)
		}
		pid, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, fmt.Errorf("line %q: PID: %w", line, err)
		}
		list = append(list, Container{ID: f[0], PID: pid, Namespace: f[2], Pod: f[3], PodUID: f[4], Name: f[5]})
	}
	return list, nil
}

// parallelMachines is the number of machines that are asked in parallel.
const parallelMachines = 16

// Machines returns the reports of machines, which it asks in parallel. The report
// of a machine that is not in hosts has an error.
func Machines(ctx context.Context, hosts map[string]machine.Host, names []string) map[string]MachineReport {
	reports := make([]MachineReport, len(names))
	var group errgroup.Group
	group.SetLimit(parallelMachines)
	for i, name := range names {
		group.Go(func() error {
			if host := hosts[name]; host != nil {
				reports[i] = ask(ctx, host)
			} else {
				reports[i].Err = fmt.Errorf("no connection to machine %s", name)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in the reports
	byName := make(map[string]MachineReport, len(names))
	for i, name := range names {
		byName[name] = reports[i]
	}
	return byName
}
