//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRuntimeReplaced upgrades containerd from 2.2 to 2.3 and rolls it back, while
// a job writes and checks a growing file, and pods of both versions run.
func TestRuntimeReplaced(t *testing.T) {
	inTestAll(t, "TestUpgrade replaces the runtime under jobs as well")
	r := &runtimeStory{operator: newOperator(t, "runtime"), machine: "pai-1", older: olderKubernetes, newer: newerKubernetes}
	r.bootFrozen(older)
	r.begin()
	r.chapter("the runtime is replaced", func(r *runtimeStory) {
		r.run(10*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
		r.replaced()
	})
	r.chapter("the runtime is rolled back", func(r *runtimeStory) {
		r.run(10*time.Minute, "upgrade", "rollback", "--yes", "--accept-risk=lose-writes-since-snapshot")
		r.rolledBack()
	})
}

// runtimeStory is what happens to the containers of a machine whose container
// runtime is replaced and rolled back. Another test can call its parts around its
// own upgrade and rollback.
type runtimeStory struct {
	*operator
	machine      string
	older, newer string // directories of the versions
	job          []container
	lines        int // of the file of the job
}

func (r *runtimeStory) chapter(name string, f func(r *runtimeStory)) bool {
	return r.part(name, func(o *operator) {
		outer := r.operator
		r.operator = o
		defer func() { r.operator = outer }()
		f(r)
	})
}

const bundles = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"

// begin starts the job and the pods on the older runtime.
func (r *runtimeStory) begin() {
	r.t.Helper()
	manifest, err := os.ReadFile("testdata/runtime.yaml")
	if err != nil {
		r.t.Fatal(err)
	}
	r.apply(strings.ReplaceAll(string(manifest), "NODE", r.machine))
	r.run(time.Minute, "job", "submit", "test/e2e/testdata/growing.yaml")
	r.eventually(2*time.Minute, "the job runs", func() (bool, string) {
		r.job = r.containersOf("growing")
		return len(r.job) == 1, fmt.Sprint(r.job)
	})
	for _, pod := range []string{"old", "stopped", "renewed"} {
		r.podRuns(pod)
		r.wantShim(pod, r.older)
	}
	r.wantRuntime(r.older)
}

// replaced wants containers of the older runtime to live and to obey the newer one.
func (r *runtimeStory) replaced() {
	r.t.Helper()
	r.wantRuntime(r.newer)
	r.chapter("the report says how long users waited", (*runtimeStory).gapsReported)
	r.chapter("the job writes on", (*runtimeStory).jobWrites)
	r.chapter("exec and logs", func(r *runtimeStory) { r.execAndLogs("old", "stays") })
	r.chapter("a container is restarted beside the older shim", func(r *runtimeStory) {
		r.restarts("old", "restarts", r.older)
		r.wantShim("old", r.older)
	})
	r.chapter("a pod stops", func(r *runtimeStory) { r.stops("stopped") })
	r.chapter("a new pod runs beside it", func(r *runtimeStory) { r.startsPod("beside", r.newer) })
	r.chapter("a pod gets a new sandbox", func(r *runtimeStory) {
		r.renewSandbox("renewed")
		r.wantShim("renewed", r.newer)
		r.execAndLogs("renewed", "stays")
	})
	r.chapter("prune keeps what containers use", func(r *runtimeStory) { r.pruneKeeps(r.older, "sandbox of pod default/old") })
}

// rolledBack wants containers of both runtimes to live and to obey the older one.
func (r *runtimeStory) rolledBack() {
	r.t.Helper()
	r.wantRuntime(r.older)
	r.chapter("the report says how long users waited", (*runtimeStory).gapsReported)
	r.chapter("the job writes on", (*runtimeStory).jobWrites)
	for _, pod := range []string{"old", "renewed"} {
		r.chapter("exec and logs of "+pod, func(r *runtimeStory) { r.execAndLogs(pod, "stays") })
	}
	r.wantShim("old", r.older)
	r.wantShim("renewed", r.newer)
	r.chapter("a container is restarted", func(r *runtimeStory) { r.restarts("old", "restarts", r.older) })
	r.chapter("prune keeps what containers use", func(r *runtimeStory) { r.pruneKeeps(r.newer, "sandbox of pod default/renewed") })
	r.chapter("a new pod runs", func(r *runtimeStory) { r.startsPod("later", r.older) })
	for _, pod := range []string{"renewed", "old", "later"} {
		r.chapter("pod "+pod+" stops", func(r *runtimeStory) { r.stops(pod) })
	}
	r.chapter("prune removes what nothing uses", func(r *runtimeStory) {
		// The newer API proxy lives on until its last client has connected again, for ten
		// minutes at most.
		r.eventually(12*time.Minute, "the newer version is removed", func() (bool, string) {
			m := r.prune()
			at := slices.IndexFunc(m.Kept, func(d prunedDirectory) bool { return d.Path == "/opt/pai/"+r.newer })
			if at >= 0 && !slices.ContainsFunc(m.Kept[at].Reasons, func(reason string) bool { return strings.Contains(reason, "(api-proxy) uses it") }) {
				r.t.Fatalf("got kept %+v, want the removal of %s", m.Kept[at], r.newer)
			}
			return len(m.Removed) == 1 && m.Removed[0].Path == "/opt/pai/"+r.newer, fmt.Sprintf("%+v", m)
		})
		r.on(r.machine, "test ! -e /opt/pai/"+r.newer+" && test ! -e /opt/pai/"+r.newer+".new")
		r.jobWrites()
	})
}

// wantRuntime wants containerd to run from the directory of a version.
func (r *runtimeStory) wantRuntime(version string) {
	r.t.Helper()
	want := "/opt/pai/" + version + "/bin/containerd"
	if got := strings.TrimSpace(r.on(r.machine, "readlink /proc/$(systemctl show -P MainPID pai-containerd)/exe")); got != want {
		r.t.Fatalf("got %s as the container runtime, want %s", got, want)
	}
}

// gapsReported wants the last operation to say how long users waited, and how long the
// plan expected them to.
func (r *runtimeStory) gapsReported() {
	r.t.Helper()
	var all []struct {
		ExpectedGaps *struct {
			SubmissionSeconds, AdmissionSeconds float64
			StartSeconds                        map[string]float64
		}
		StartSeconds                                    map[string]float64
		SubmissionOutageSeconds, AdmissionOutageSeconds float64
	}
	r.json(&all, "upgrade", "history")
	op := all[len(all)-1]
	if op.ExpectedGaps == nil || op.ExpectedGaps.StartSeconds[r.machine] <= 0 || op.StartSeconds[r.machine] <= 0 {
		r.t.Fatalf("got %+v, want the expected and the measured time on %s", op, r.machine)
	}
	r.t.Logf("no submission %.1f s (expected %.0f s); no admission %.1f s (expected %.0f s); no new containers on %s %.1f s (expected %.0f s)",
		op.SubmissionOutageSeconds, op.ExpectedGaps.SubmissionSeconds, op.AdmissionOutageSeconds, op.ExpectedGaps.AdmissionSeconds,
		r.machine, op.StartSeconds[r.machine], op.ExpectedGaps.StartSeconds[r.machine])
}

// jobWrites wants the container of the job to be the same, and its file to grow
// without a gap.
func (r *runtimeStory) jobWrites() {
	r.t.Helper()
	r.wantContainersOf("growing", r.job)
	pod := r.job[0].Pod
	count := func() int {
		namespace := strings.Fields(r.kubectl("get pods -A --no-headers -l pai.dev/job --field-selector metadata.name=" + pod))[0]
		text := r.kubectl("exec -n " + namespace + " " + pod + " -- cat /tmp/growing")
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for n, line := range lines {
			if !strings.HasPrefix(line, fmt.Sprintf("line %d after ", n+1)) {
				r.t.Fatalf("line %d of the file is %q", n+1, line)
			}
		}
		return len(lines)
	}
	before := r.lines
	r.lines = count()
	if r.lines <= before {
		r.t.Errorf("got %d lines, want more than the %d before", r.lines, before)
	}
	now := r.lines
	r.eventually(30*time.Second, "the file grows", func() (bool, string) {
		r.lines = count()
		return r.lines > now, strconv.Itoa(r.lines)
	})
	if log := r.run(time.Minute, "job", "logs", "growing"); !strings.Contains(log, "line 5") || strings.Contains(log, "the file has") {
		r.t.Errorf("got the log %s", log)
	}
}

// execAndLogs runs a command in a container and follows its log.
func (r *runtimeStory) execAndLogs(pod, name string) {
	r.t.Helper()
	if got := r.kubectl("exec " + pod + " -c " + name + " -- sh -c 'echo in; echo err >&2; exit 0'"); !strings.Contains(got, "in\n") {
		r.t.Errorf("got %q of exec", got)
	}
	if _, err := r.tryKubectl("exec " + pod + " -c " + name + " -- sh -c 'exit 7'"); exitCode(err) != 7 {
		r.t.Errorf("got %v of a command that exits with 7", err)
	}
	last := func() string { return r.kubectl("logs " + pod + " -c " + name + " --tail=1") }
	before := last()
	r.eventually(20*time.Second, "the log grows", func() (bool, string) {
		now := last()
		return now != before && strings.HasPrefix(now, name), now
	})
}

// restarts ends a container and wants another one in the same sandbox, which runc of
// a version started. containerd stores the options of the runtime with the sandbox, so
// it is the version that started the sandbox.
func (r *runtimeStory) restarts(pod, name, version string) {
	r.t.Helper()
	before, sandbox := r.state(pod)[name], r.sandboxOf(pod)
	r.kubectl("exec " + pod + " -c " + name + " -- touch /tmp/end")
	r.eventually(time.Minute, "the container runs again", func() (bool, string) {
		now := r.state(pod)[name]
		return now.running && now.id != before.id && now.restarts == before.restarts+1, fmt.Sprint(now)
	})
	if now := r.sandboxOf(pod); now != sandbox {
		r.t.Errorf("got sandbox %s, want %s as before", now, sandbox)
	}
	want := "/opt/pai/" + version + "/bin/runc"
	if got := r.on(r.machine, "cat "+bundles+r.state(pod)[name].id+"/runtime"); strings.TrimSpace(got) != want {
		r.t.Errorf("the container is run by %q, want %s", got, want)
	}
}

// startsPod starts a pod with the runtime of a version.
func (r *runtimeStory) startsPod(name, version string) {
	r.t.Helper()
	r.kubectl(fmt.Sprintf(`run %s --image=pai.local/example:v1 --image-pull-policy=Never --overrides='{"spec":{"nodeName":"%s","terminationGracePeriodSeconds":5}}' -- --interval 1s`, name, r.machine))
	r.podRuns(name)
	r.wantShim(name, version)
}

// stops deletes a pod, and wants its containers to end at once and to leave nothing.
func (r *runtimeStory) stops(pod string) {
	r.t.Helper()
	ids := []string{r.sandboxOf(pod)}
	for _, c := range r.state(pod) {
		ids = append(ids, c.id)
	}
	r.kubectl("delete pod " + pod + " --timeout=50s")
	r.eventually(30*time.Second, "no shim and no bundle is left of "+pod, func() (bool, string) {
		left := r.on(r.machine, "cd "+bundles+"; ls -d "+strings.Join(ids, " ")+" 2>/dev/null || true") + r.shimOf(ids[0])
		return strings.TrimSpace(left) == "", left
	})
}

// renewSandbox ends the first process of a sandbox. The kubelet then makes another one.
func (r *runtimeStory) renewSandbox(pod string) {
	r.t.Helper()
	before := r.sandboxOf(pod)
	r.on(r.machine, "kill -9 $(cat "+bundles+before+"/init.pid)")
	r.eventually(2*time.Minute, "the pod has another sandbox", func() (bool, string) {
		for _, c := range r.state(pod) {
			if config := r.on(r.machine, "cat "+bundles+c.id+"/config.json || true"); !c.running || config == "" || strings.Contains(config, before) {
				return false, fmt.Sprint(c)
			}
		}
		return true, ""
	})
}

// prunedDirectory and prunedMachine are what machine prune prints.
type prunedDirectory struct {
	Path    string
	Reasons []string
}

type prunedMachine struct {
	Machine       string
	Removed, Kept []prunedDirectory
}

// prune runs machine prune.
func (r *runtimeStory) prune() prunedMachine {
	r.t.Helper()
	var result struct{ Machines []prunedMachine }
	r.json(&result, "machine", "prune", r.machine)
	if len(result.Machines) != 1 || result.Machines[0].Machine != r.machine {
		r.t.Fatalf("got %+v", result)
	}
	return result.Machines[0]
}

// pruneKeeps wants machine prune to keep the directory of a version, and to name a user.
func (r *runtimeStory) pruneKeeps(version, user string) {
	r.t.Helper()
	m := r.prune()
	n := slices.IndexFunc(m.Kept, func(d prunedDirectory) bool { return d.Path == "/opt/pai/"+version })
	if n < 0 || len(m.Removed) > 0 {
		r.t.Fatalf("got kept %+v, removed %+v", m.Kept, m.Removed)
	}
	reasons := strings.Join(m.Kept[n].Reasons, "; ")
	r.t.Logf("%s stays: %s", version, reasons)
	if !strings.Contains(reasons, user+" uses it") || strings.Contains(reasons, "did not write") {
		r.t.Errorf("%s is kept because of %q, want %s", version, reasons, user)
	}
	r.on(r.machine, "test -x /opt/pai/"+version+"/bin/containerd-shim-runc-v2")
}

// podState is the state of a container of a pod.
type podState struct {
	id       string
	running  bool
	restarts int
}

// state reads the containers of a pod from the API.
func (r *runtimeStory) state(pod string) map[string]podState {
	r.t.Helper()
	var p struct {
		Status struct {
			ContainerStatuses []struct {
				Name, ContainerID string
				RestartCount      int
				State             struct{ Running *struct{} }
			}
		}
	}
	out := r.kubectl("get pod " + pod + " -o json")
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		r.t.Fatalf("read pod %s: %v\n%s", pod, err, out)
	}
	states := map[string]podState{}
	for _, c := range p.Status.ContainerStatuses {
		states[c.Name] = podState{strings.TrimPrefix(c.ContainerID, "containerd://"), c.State.Running != nil, c.RestartCount}
	}
	return states
}

func (r *runtimeStory) podRuns(pod string) {
	r.t.Helper()
	r.eventually(time.Minute, "pod "+pod+" runs", func() (bool, string) {
		states := r.state(pod)
		for _, c := range states {
			if !c.running {
				return false, fmt.Sprint(states)
			}
		}
		return len(states) > 0, ""
	})
}

// sandboxOf is the ID of the sandbox that the running containers of a pod are in.
func (r *runtimeStory) sandboxOf(pod string) string {
	r.t.Helper()
	for _, c := range r.state(pod) {
		if c.running {
			return strings.TrimSpace(r.on(r.machine, `sed -n 's/.*"io.kubernetes.cri.sandbox-id": *"\([0-9a-f]*\)".*/\1/p' `+bundles+c.id+"/config.json"))
		}
	}
	r.t.Fatalf("pod %s has no running container", pod)
	return ""
}

// shimOf is the program of the shim that serves a sandbox.
func (r *runtimeStory) shimOf(sandbox string) string {
	r.t.Helper()
	return strings.TrimSpace(r.on(r.machine, `for p in /proc/[0-9]*; do
	case "$(readlink $p/exe) $(tr '\0' ' ' 2>/dev/null <$p/cmdline)" in /opt/pai/*containerd-shim-runc-v2*"-id `+sandbox+` "*) readlink $p/exe ;; esac
done; true`))
}

// wantShim wants the containers of a pod to be served by the shim of a version.
func (r *runtimeStory) wantShim(pod, version string) {
	r.t.Helper()
	want := "/opt/pai/" + version + "/bin/containerd-shim-runc-v2"
	if got := r.shimOf(r.sandboxOf(pod)); got != want {
		r.t.Errorf("got %q as the shim of pod %s, want %s", got, pod, want)
	}
}
