//go:build scale

package operation

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/releases"
)

// latency is what each call of a machine or of the API takes.
const latency = 20 * time.Millisecond

// remoteCalls is how many calls of a machine or of the API the doer of a kind
// makes, one after the other: in Done, and in Do. They were counted in
// internal/cluster and internal/service, and rounded up. Done is called before
// and after Do. What happens on a machine during a call takes no time here.
var remoteCalls = map[plan.Kind]struct{ done, do int }{
	plan.KindPrepare: {2, 10}, plan.KindPrograms: {2, 3}, plan.KindImages: {2, 4},
	plan.KindRole: {4, 12}, plan.KindKubelet: {6, 18}, plan.KindUncordon: {2, 3},
}

// otherCalls is for all other kinds; a plan has few steps of each.
var otherCalls = struct{ done, do int }{10, 60}

// simulated does steps in memory, and takes the time of their calls.
type simulated struct {
	mu   sync.Mutex
	done map[plan.StepID]bool
}

func callsOf(s plan.Step) struct{ done, do int } {
	if calls, many := remoteCalls[s.Kind]; many {
		return calls
	}
	return otherCalls
}

func (d *simulated) Done(ctx context.Context, s plan.Step) (bool, error) {
	err := poll.Sleep(ctx, time.Duration(callsOf(s).done)*latency)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[s.ID], err
}

func (d *simulated) Do(ctx context.Context, s plan.Step) error {
	err := poll.Sleep(ctx, time.Duration(callsOf(s).do)*latency)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[s.ID] = err == nil
	return err
}

// memoryHost is the control-plane machine: its files are in memory. It counts
// what is written into the journal.
type memoryHost struct {
	machine.Host
	mu            sync.Mutex
	files         map[string][]byte
	bytes, writes int
}

func (h *memoryHost) call(ctx context.Context) error { return poll.Sleep(ctx, latency) }

func (h *memoryHost) put(ctx context.Context, file string, data []byte, change func(old []byte, exists bool) ([]byte, error)) error {
	if err := h.call(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if strings.Contains(file, "/operations/") {
		h.bytes += len(data)
		h.writes++
	}
	old, exists := h.files[file]
	content, err := change(old, exists)
	if err == nil {
		h.files[file] = content
	}
	return err
}

func (h *memoryHost) WriteFile(ctx context.Context, file string, data []byte, _ fs.FileMode) error {
	return h.put(ctx, file, data, func([]byte, bool) ([]byte, error) { return data, nil })
}

func (h *memoryHost) CreateFile(ctx context.Context, file string, data []byte, _ fs.FileMode) error {
	return h.put(ctx, file, data, func(_ []byte, exists bool) ([]byte, error) {
		if exists {
			return nil, fs.ErrExist
		}
		return data, nil
	})
}

func (h *memoryHost) AppendFile(ctx context.Context, file string, data []byte) error {
	return h.put(ctx, file, data, func(old []byte, _ bool) ([]byte, error) { return append(old, data...), nil })
}

func (h *memoryHost) ReadFile(ctx context.Context, file string) ([]byte, error) {
	if err := h.call(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if data, exists := h.files[file]; exists {
		return slices.Clone(data), nil
	}
	return nil, fs.ErrNotExist
}

func (h *memoryHost) Remove(ctx context.Context, file string) error {
	err := h.call(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.files, file)
	return err
}

func (h *memoryHost) ReadDir(ctx context.Context, dir string) (names []string, err error) {
	err = h.call(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	for file := range h.files {
		if path.Dir(file) == dir {
			names = append(names, path.Base(file))
		}
	}
	slices.Sort(names)
	return names, err
}

// simulatedFacts are what the guard observes: machines that meet every condition
// for a change in place. Each fact takes the time of its calls.
type simulatedFacts struct {
	jobs map[string][]pai.Job // by machine
}

func (f simulatedFacts) Jobs(ctx context.Context) guard.Fact[[]pai.Job] {
	return guard.Observed([]pai.Job{}, poll.Sleep(ctx, 3*latency))
}

func (f simulatedFacts) JobsOn(ctx context.Context, name string) guard.Fact[[]pai.Job] {
	return guard.Observed(f.jobs[name], poll.Sleep(ctx, latency))
}

func (f simulatedFacts) Queued(ctx context.Context) guard.Fact[[]pai.JobRef] {
	return guard.Observed([]pai.JobRef{}, poll.Sleep(ctx, 4*latency))
}

func (f simulatedFacts) Kubelets(ctx context.Context) guard.Fact[map[string]string] {
	return guard.Observed(map[string]string{"gpu-00000": "v1.35.4"}, poll.Sleep(ctx, latency))
}

func (f simulatedFacts) Containers(ctx context.Context, name string) guard.Fact[[]running.Container] {
	var list []running.Container
	if len(f.jobs[name]) > 0 {
		list = []running.Container{{ID: "c0", Namespace: pai.VirtualClusterNamespacePrefix + "default"}}
	}
	return guard.Observed(list, poll.Sleep(ctx, latency))
}

func (f simulatedFacts) Machine(ctx context.Context, step plan.Step) guard.Facts {
	if err := poll.Sleep(ctx, 6*latency); err != nil {
		return guard.Facts{}
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: step.Target}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	settings := guard.KubeletConfig{CPUManagerPolicy: "none", MemoryManagerPolicy: "None", TopologyManagerPolicy: "none", CgroupDriver: "systemd"}
	version := guard.Known(guard.Transition[string]{From: "v1.35.4", To: "v1.36.3"})
	return guard.Facts{Node: guard.Known(node), Pods: guard.Known([]corev1.Pod{}), Kubelet: version,
		Runtime:     guard.Known(guard.Transition[string]{From: "2.2.3", To: "v2.3.0"}),
		KubeletRuns: guard.Known(true), RuntimeUp: guard.Known(true),
		Config:          guard.Known(guard.Transition[guard.KubeletConfig]{From: settings, To: settings}),
		RuntimeCgroups:  guard.Known(guard.Transition[string]{From: "systemd", To: "systemd"}),
		RuntimeKillMode: guard.Known("process")}
}

// upgradeOf is the plan of an upgrade of everything from v0.9 to v0.10 on many
// machines, all of them busy; each job runs on two machines.
func upgradeOf(t *testing.T, machines int) (Preview, map[string]pai.JobImpact, simulatedFacts) {
	t.Helper()
	known, err := release.Load(releases.FS)
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := service.Catalog(os.DirFS("../../services"))
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{Releases: known, Services: map[pai.ServicesVersion][]plan.ServiceSpec{}, Digests: map[pai.Release]string{}}
	w := plan.World{ClusterID: "scale", APIReachable: true, Services: map[string]plan.Installed{},
		Current: pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, RecordedServices: "v0.9"}
	impacts := map[string]pai.JobImpact{}
	for _, sv := range catalog {
		impacts[sv.Name] = sv.Planned().Impact
		w.Services[sv.Name] = plan.Installed{Release: "v0.9", Ready: true}
		for _, m := range known {
			in.Services[m.Services.Version] = append(in.Services[m.Services.Version], sv.Planned())
		}
	}
	for _, m := range known {
		in.Digests[m.Metadata.Name] = "sha256:" + string(m.Metadata.Name)
	}
	facts := simulatedFacts{jobs: map[string][]pai.Job{}}
	for i := range machines {
		m := plan.MachineState{Name: scaleName(i), Prepared: true, Joined: true, ControlPlane: i == 0, Programs: []pai.KubernetesVersion{"v0.9-pai"},
			Images: []string{"sha256:v0.9"}, Roles: map[plan.Role]plan.RoleState{}, Node: &plan.Node{Ready: true, Kubelet: "v1.35.4"}}
		roles := []plan.Role{plan.RoleRuntime, plan.RoleKubelet, plan.RoleKubeProxy, plan.RoleNetwork, plan.RoleAPIProxy}
		if m.ControlPlane {
			roles = append(roles, plan.RoleEtcdA, plan.RoleAPIServerA, plan.RoleControllerManager, plan.RoleScheduler)
		}
		for _, r := range roles {
			m.Roles[r] = plan.RoleState{Link: "v0.9-pai", Running: "v0.9-pai"}
		}
		w.Machines = append(w.Machines, m)
		if i%2 == 1 {
			job := pai.Job{JobRef: pai.JobRef{User: "ann", VirtualCluster: "default", Name: fmt.Sprint("job-", i)}}
			for _, on := range []string{scaleName(i - 1), scaleName(i)} {
				job.Pods = append(job.Pods, pai.Pod{Machine: on, Containers: []pai.Container{{State: pai.ContainerRunning}}})
				facts.jobs[on] = []pai.Job{job}
			}
			w.Jobs = append(w.Jobs, job)
		}
	}
	in.World = w
	p, err := plan.Upgrade(in, plan.Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	return Preview{Plan: p, Impact: guard.Impacts(p.Steps, w, impacts), world: w}, impacts, facts
}

// execute runs the steps of an upgrade with the real executor, journal, lock,
// guard, and admission, and returns the bytes that it wrote into the journal.
func execute(t *testing.T, machines int) (host *memoryHost, steps int) {
	t.Helper()
	ctx := t.Context()
	preview, impacts, facts := upgradeOf(t, machines)
	host = &memoryHost{files: map[string][]byte{}}
	holder, err := run.ThisProcess("v0.10", pai.VerbUpgrade)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := run.Acquire(ctx, host, holder, run.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &session.Session{Config: &config.Config{}, Progressf: func(string, ...any) {}}
	o := newOperation(s, Upgrade(plan.Target{Release: "v0.10"}), RunOptions{})
	o.preview, o.lock = preview, lock
	entry, err := run.NewJournal(host).Under(lock).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade, From: preview.Plan.From, To: preview.Plan.To})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.recordPlannedSteps(ctx, entry); err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(facts, impacts, nil)
	if err != nil {
		t.Fatal(err)
	}
	doer := &simulated{done: map[plan.StepID]bool{}}
	x := &execution{operation: o, doers: plan.Doers{}, entry: entry, watch: &watch{started: time.Now()},
		admission: newAdmission(g, &manyNodes{cordoned: map[string]int{}}, entry, nil)}
	for _, step := range preview.Plan.Steps {
		x.doers[step.Kind] = doer
	}
	result := x.execute(ctx)
	if err := x.finish(ctx, result); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(ctx); err != nil {
		t.Error(err)
	}
	op, err := run.NewJournal(host).Get(ctx, entry.Operation().ID)
	if err != nil || op.Outcome != pai.OutcomeSucceeded || len(op.Steps) != len(preview.Plan.Steps) {
		t.Fatalf("the journal has %s with %d steps, error %v", op.Outcome, len(op.Steps), err)
	}
	return host, len(op.Steps)
}

// TestExecute300Machines executes an upgrade of 300 busy machines. `make bench`
// runs it and reads its figures from the lines that begin with FIGURE. The
// machines and the API are simulated at the level of the doers and the facts of
// the guard; there is no witness.
func TestExecute300Machines(t *testing.T) {
	few, fewSteps := execute(t, 30)
	var many *memoryHost
	steps := 0
	start := time.Now()
	peak := figure(t, "execute 300 machines", func() { many, steps = execute(t, 300) })
	if took := time.Since(start); took > 4*time.Minute || peak > 500<<20 {
		t.Errorf("took %s and %d MiB, want at most 4 minutes and 500 MiB", took.Round(time.Second), peak>>20)
	}
	perStep, before := many.bytes/steps, few.bytes/fewSteps
	if perStep > before*11/10 {
		t.Errorf("got %d bytes of journal per step with 300 machines and %d with 30, want the same", perStep, before)
	}
	fmt.Printf("FIGURE steps of 300 machines: %d\nFIGURE journal of 300 machines: %d KiB in %d writes, %d bytes for each step (%d with 30 machines)\n",
		steps, many.bytes>>10, many.writes, perStep, before)
}
