package running

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Container is a container that lives on a machine, as its own process shows.
type Container struct {
	ID        string
	PID       int
	Namespace string // of its pod
	Pod       string
	PodUID    string
	Name      string // its name in the pod
}

// OfJob reports whether the container belongs to a job: jobs have namespaces
// of their own. A container that does not say whose it is may be a job's.
func (c Container) OfJob() bool {
	return c.Namespace == "" || strings.HasPrefix(c.Namespace, pai.VirtualClusterNamespacePrefix)
}

// MachineReport is what one machine says about its containers; Err says why it
// could not be asked.
type MachineReport struct {
	// Boot is another one each time that the machine is started (the kernel's
	// boot id); empty where it does not say.
	Boot string
	// Stopping is set while it shuts down.
	Stopping   bool
	Containers []Container
	Err        error
}

// machineTimeout bounds how long one machine may take to list its containers.
const machineTimeout = 10 * time.Second

// listScript says in its first line which boot of the machine this is and what
// systemd makes of its state ("stopping" while it shuts down, systemctl(1)
// is-system-running), and then lists its living containers, one per line: ID,
// PID, then namespace, pod, UID and container name, separated by tabs.
//
// It reads the folders in which the shims keep their bundles
// (github.com/containerd/containerd/v2 core/runtime/v2, "state" of the plugin
// io.containerd.runtime.v2.task), and asks the kernel whether the container's
// first process is alive in the container's own cgroup. That answer is there
// even while containerd is stopped or being replaced, and it costs one process.
const listScript = `read -r boot < /proc/sys/kernel/random/boot_id || boot=
state=$(timeout 2 systemctl is-system-running 2>/dev/null || :)
printf 'boot %s %s\n' "$boot" "$state"
if ! cd /run/containerd/io.containerd.runtime.v2.task/k8s.io 2>/dev/null; then
  if grep -qs '^containerd-shim' /proc/[0-9]*/comm; then echo 'containers run, but not where they are looked for' >&2; exit 1; fi
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

// Containers lists the containers of pods that live on a machine.
func Containers(ctx context.Context, host machine.Host) ([]Container, error) {
	m := ask(ctx, host)
	return m.Containers, m.Err
}

func ask(ctx context.Context, host machine.Host) (m MachineReport) {
	ctx, cancel := context.WithTimeoutCause(ctx, machineTimeout, fmt.Errorf("machine %s did not list its containers within %s", host.Name(), machineTimeout))
	defer cancel()
	out, err := host.Run(ctx, machine.Command{Script: listScript})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return MachineReport{Err: fmt.Errorf("list the containers of %s: %w", host.Name(), err)}
	}
	if m, err = parseMachine(out.Stdout); err != nil {
		return MachineReport{Err: fmt.Errorf("list the containers of %s: %w", host.Name(), err)}
	}
	return m
}

func parseMachine(text string) (m MachineReport, err error) {
	first, containers, _ := strings.Cut(text, "\n")
	boot, ok := strings.CutPrefix(first, "boot ")
	if !ok { // else a container could be taken for it
		return m, fmt.Errorf("the first line is %q, and does not say which boot this is", first)
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

// parallelMachines bounds how many machines are asked at one time.
const parallelMachines = 16

// Machines asks several machines side by side. A machine that hosts does not
// hold is in the result with the reason.
func Machines(ctx context.Context, hosts map[string]machine.Host, names []string) map[string]MachineReport {
	answers := make([]MachineReport, len(names))
	slots := make(chan struct{}, parallelMachines)
	var wg sync.WaitGroup
	for i, name := range names {
		host := hosts[name]
		if host == nil {
			answers[i].Err = fmt.Errorf("there is no connection to machine %s", name)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[i] = ask(ctx, host)
		})
	}
	wg.Wait()
	result := make(map[string]MachineReport, len(names))
	for i, name := range names {
		result[name] = answers[i]
	}
	return result
}
