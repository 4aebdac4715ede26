package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Activity is what runs on a machine.
type Activity struct {
	Boot       string      `json:"boot,omitempty"` // boot ID of the kernel, which changes with each reboot; empty if unknown
	Stopping   bool        `json:"stopping,omitempty"`
	Containers []Container `json:"containers,omitempty"`
}

// Container is a running container of a pod; pods' sandboxes are not among them.
type Container struct {
	ID        string `json:"id"`
	PID       int    `json:"pid"`
	Namespace string `json:"namespace,omitempty"` // of its pod
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"podUID,omitempty"`
	Name      string `json:"name,omitempty"` // in the pod
}

// OfJob reports whether the container might belong to a job. Jobs have dedicated
// namespaces; a container without a namespace might belong to one.
func (c Container) OfJob() bool {
	return c.Namespace == "" || strings.HasPrefix(c.Namespace, pai.VirtualClusterNamespacePrefix)
}

// stateTimeout limits the question for the state of systemd.
const stateTimeout = 5 * time.Second

const tasksDir = layout.ContainerdTasks + "/k8s.io"

// containers reports what runs. It reads the bundle directories of the shims
// (github.com/containerd/containerd/v2 core/runtime/v2, "state" of the plugin
// io.containerd.runtime.v2.task), and checks that the first process of each
// container is in the cgroup of the container. So it works while containerd is
// stopped or replaced.
func (i *inspection) containers(ctx context.Context) error {
	a := Activity{}
	boot, err := i.read("/proc/sys/kernel/random/boot_id")
	i.problem(err, string(Containers), "boot")
	a.Boot = strings.TrimSpace(string(boot))
	ids, err := i.tasks()
	if err != nil {
		return err
	}
	for _, id := range ids {
		c, kind, err := i.container(id)
		if err != nil {
			return err
		}
		if kind == containerTask {
			a.Containers = append(a.Containers, c)
		}
	}
	// The state comes last: if it is not that of a shutdown, what ended before the
	// list was made did not end because of one.
	a.Stopping = i.stopping(ctx)
	i.report.Activity = &a
	return nil
}

// tasks lists the bundle directories. It returns an error if shims run without them.
func (i *inspection) tasks() ([]string, error) {
	there, err := i.exists(tasksDir)
	if err != nil {
		return nil, err
	}
	if !there && i.shimRuns() {
		return nil, errors.New("containers run outside of the expected directory " + tasksDir)
	}
	return i.names(tasksDir)
}

// task is what runs in a bundle directory.
type task int

const (
	noTask task = iota
	containerTask
	sandboxTask
)

// stopping reports whether the machine shuts down. A state that is unknown is a problem.
func (i *inspection) stopping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	state, err := i.Run(ctx, "systemctl", "is-system-running") // its exit code says the same as its output
	switch state = strings.TrimSpace(state); state {
	case "stopping":
		return true
	case "initializing", "starting", "running", "degraded", "maintenance":
	default: // also "unknown" and "offline": nothing answers
		i.problem(errors.Join(fmt.Errorf("systemd does not report its state, but %q", state), err), string(Containers), "stopping")
	}
	return false
}

// container reads the bundle directory of a container.
func (i *inspection) container(id string) (Container, task, error) {
	c := Container{ID: id}
	first, err := i.read(tasksDir + "/" + id + "/init.pid")
	if errors.Is(err, fs.ErrNotExist) {
		return c, noTask, nil // not started, or removed
	}
	if err != nil {
		return c, noTask, err
	}
	text := strings.TrimSpace(string(first))
	if text == "" {
		return c, noTask, nil // being started
	}
	if c.PID, err = strconv.Atoi(text); err != nil {
		return c, noTask, fmt.Errorf("read the first process of container %s: %w", id, err)
	}
	groups, err := i.read(fmt.Sprintf("/proc/%d/cgroup", c.PID))
	if err != nil || !strings.Contains(string(groups), id) {
		return c, noTask, nil // the process ended, and another one might have its number
	}
	kind := containerTask
	if i.identify(tasksDir+"/"+id, &c) {
		kind = sandboxTask
	}
	return c, kind, nil
}

// identify sets the pod and the name of a container from its specification, and
// reports whether it is a sandbox.
func (i *inspection) identify(bundle string, c *Container) (sandbox bool) {
	var spec struct {
		Annotations map[string]string `json:"annotations"`
	}
	data, err := i.read(bundle + "/config.json")
	if err == nil {
		err = json.Unmarshal(data, &spec)
	}
	// Without a readable specification, the container might belong to a job.
	i.problem(err, string(Containers), c.ID)
	of := func(key string) string { return spec.Annotations["io.kubernetes.cri."+key] }
	c.Namespace, c.Pod, c.PodUID, c.Name = of("sandbox-namespace"), of("sandbox-name"), of("sandbox-uid"), of("container-name")
	return of("container-type") == "sandbox"
}

// shimRuns reports whether a shim of containerd runs.
func (i *inspection) shimRuns() bool {
	names, _ := filepath.Glob(i.at("/proc/[0-9]*/comm")) // an error means that the name is no pattern
	for _, name := range names {
		comm, err := i.read(strings.TrimPrefix(name, strings.TrimSuffix(i.Root, "/")))
		if err == nil && strings.HasPrefix(string(comm), "containerd-shim") {
			return true
		}
	}
	return false
}
