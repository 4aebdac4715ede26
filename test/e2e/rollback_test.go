//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"time"
)

// rollBack rolls an upgraded cluster back while jobs run: the services,
// Kubernetes after its commit, and, in the next upgrade, Kubernetes before it.
// The containers of the jobs stay the same each time. A job that was started
// since a snapshot ends, and only with an accepted risk. A job that ended since, by
// itself or because its user stopped it, does not run again. The report names all.
// A client sees the rollbacks that lose nothing. A restored etcd has other pods of
// the services, so users wait until they run.
func (o *operator) rollBack() {
	o.stopJob(haltedJob)
	before := o.jobContainers()
	previous := operationPair{Services: older, Kubernetes: olderKubernetes}

	o.part("the services", func(o *operator) {
		t := o.t
		stopClient := o.startClient()
		defer func() { stopClient(t) }()
		o.run(10*time.Minute, "upgrade", "rollback", "--services", "--yes")
		op := o.lastMove()
		if op.Verb != "rollback" || op.Outcome != "succeeded" || op.To.Services != older || op.To.Kubernetes != newerKubernetes {
			t.Errorf("recorded: %+v", op)
		}
		if out := o.run(time.Minute, "service", "status"); strings.Contains(out, newer) {
			t.Errorf("a service is still of the newer release:\n%s", out)
		}
		o.wantContainers(before)
	})

	o.part("Kubernetes after its commit", func(o *operator) {
		t := o.t
		o.submitAs("since", "examples/train.yaml")
		o.run(time.Minute, "job", "submit", "test/e2e/testdata/brief.yaml")
		o.hasState("brief", "SUCCEEDED")
		refused := func(args ...string) string {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			_, err := o.try(ctx, nil, append([]string{"upgrade", "rollback", "--yes"}, args...)...)
			if code := exitCode(err); code != 3 {
				t.Fatalf("exit code %d, want 3: %v", code, err)
			}
			return err.Error()
		}
		text := refused()
		// Three: these two, and the one that tried to get the device that was taken.
		for _, want := range []string{"lose-writes-since-snapshot", "interrupt-jobs", "~since", "jobsets.jobset.x-k8s.io 3 created", "pods"} {
			if !strings.Contains(text, want) {
				t.Errorf("the refusal does not say %q:\n%s", want, text)
			}
		}
		if text := refused("--accept-risk=lose-writes-since-snapshot"); !strings.Contains(text, "interrupt-jobs") {
			t.Errorf("accepting one risk was enough:\n%s", text)
		}
		if notes := o.run(3*time.Minute, "upgrade", "rollback", "--dry-run"); !strings.Contains(notes, "~brief (SUCCEEDED)") || !strings.Contains(notes, "~halted (STOPPED)") {
			t.Errorf("the plan does not name the jobs that ended:\n%s", notes)
		}
		report := o.run(10*time.Minute, "upgrade", "rollback", "--yes", "--accept-risk=lose-writes-since-snapshot,interrupt-jobs")
		if op := o.lastMove(); op.Outcome != "succeeded" || op.To != previous {
			t.Errorf("recorded: %+v", op)
		}
		if v := o.serverVersion(); v != olderUpstream {
			t.Errorf("the API server is %s, not %s", v, olderUpstream)
		}
		o.eventually(time.Minute, "the job since no longer exists", func() (bool, string) {
			out := o.run(time.Minute, "job", "list")
			return !strings.Contains(out, "since"), out
		})
		o.wantContainers(before)
		o.wantRestoredJobs(report)
		o.eventually(3*time.Minute, "Kueue and JobSet of the restored cluster are ready", func() (bool, string) {
			out := o.kubectl("get pods -n pai-system -l 'app.kubernetes.io/name in (kueue,jobset)' --no-headers")
			return strings.Count(out, " 1/1 ") >= 2, out
		})
		o.submitAs("since", "examples/train.yaml") // the lost job holds neither its name nor its resources
		o.stopJob("since")
	})

	o.part("Kubernetes before its commit, by itself", func(o *operator) {
		t := o.t
		stopClient := o.startClient()
		defer func() { stopClient(t) }()
		// kube-proxy moves after the API server and the kubelet; its
		// configuration cannot be written where a directory of that name exists.
		const file = "/opt/pai/" + newerKubernetes + "/etc/kube-proxy.yaml"
		o.on("pai-1", "rm -f "+file+" && mkdir -p "+file+"/blocking")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		_, err := o.try(ctx, nil, "upgrade", "apply", "--to", newer, "--yes")
		o.on("pai-1", "rm -rf "+file)
		if err == nil || exitCode(err) != 1 || !strings.Contains(err.Error(), "rolled back to Kubernetes "+olderKubernetes+", nothing was lost") {
			t.Fatalf("the upgrade was not rolled back: %v", err)
		}
		if !strings.Contains(err.Error(), olderKubernetes+"/cluster/apiserver") {
			t.Errorf("the control plane had not moved when the upgrade failed: %v", err)
		}
		if op := o.lastMove(); op.Verb != "rollback" || op.Outcome != "succeeded" || op.To != previous {
			t.Errorf("recorded: %+v", op)
		}
		for _, role := range []string{"kubelet", "kube-proxy", "scheduler", "controller-manager"} {
			if link := o.on("pai-1", "readlink /opt/pai/role/"+role); !strings.Contains(link, olderKubernetes) {
				t.Errorf("%s is still at %s", role, link)
			}
		}
		if v := o.serverVersion(); v != olderUpstream {
			t.Errorf("the API server is %s, not %s", v, olderUpstream)
		}
		o.wantContainers(before)
	})
}

// haltedJob runs when the upgrade starts, and its user stops it before the rollback.
const haltedJob = "halted"

func (o *operator) stopJob(name string) {
	o.t.Helper()
	o.run(time.Minute, "job", "stop", name)
	o.hasState(name, "STOPPED")
}

// hasState waits until a job has a state.
func (o *operator) hasState(name, state string) {
	o.t.Helper()
	o.eventually(2*time.Minute, "job "+name+" is "+state, func() (bool, string) {
		var job struct{ State string } // tasks have states, too
		o.json(&job, "job", "show", name)
		return job.State == state, job.State
	})
}

// wantRestoredJobs wants that the report of a rollback and the history name every job whose
// record changed since the snapshot, and that the ended ones do not run again.
func (o *operator) wantRestoredJobs(report string) {
	t := o.t
	t.Helper()
	var all []struct {
		Restored *struct {
			Done time.Time
			Jobs []struct{ Job, State, Record, Containers string }
		}
	}
	o.json(&all, "upgrade", "history")
	last := all[len(all)-1].Restored
	if last == nil || last.Done.IsZero() {
		t.Fatalf("the history has no restore: %+v", last)
	}
	got := map[string]string{}
	for _, j := range last.Jobs {
		_, name, _ := strings.Cut(j.Job, "~")
		got[name] = strings.Join([]string{j.State, j.Record, j.Containers}, " ")
		if !strings.Contains(report, j.Job) {
			t.Errorf("the report does not name %s:\n%s", j.Job, report)
		}
	}
	for name, want := range map[string]string{"since": "RUNNING lost deleted", "brief": "SUCCEEDED kept ended", haltedJob: "STOPPED kept ended"} {
		if got[name] != want {
			t.Errorf("job %s: got %q, want %q in %v", name, got[name], want, got)
		}
	}
	if got["train"] != "" {
		t.Errorf("a job that did not change is listed: %v", got)
	}
	o.hasState("brief", "SUCCEEDED")
	o.hasState(haltedJob, "STOPPED")
	if out := o.kubectl("get pods -A -l pai.dev/job -o name"); strings.Contains(out, haltedJob) {
		t.Errorf("the stopped job has pods again:\n%s", out)
	}
	if status := o.run(time.Minute, "cluster", "status"); strings.Contains(status, "not yet applied") {
		t.Errorf("what the rollback applied is not recorded:\n%s", status)
	}
}

type operationPair struct{ Services, Kubernetes string }

// move is what the journal says of an operation that moved something.
type move struct {
	Verb, Outcome string
	From, To      operationPair
}

// lastMove is the last upgrade or rollback in the history.
func (o *operator) lastMove() move {
	t := o.t
	t.Helper()
	var all []move
	out := o.run(time.Minute, "upgrade", "history", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) == 0 {
		t.Fatalf("the history is not one (%v): %s", err, out)
	}
	return all[len(all)-1]
}

// submitAs submits a job under another name, and waits until it runs.
func (o *operator) submitAs(name, file string) {
	o.t.Helper()
	o.run(time.Minute, "job", "submit", o.jobFileAs(name, file))
	o.hasState(name, "RUNNING")
}

// jobFileAs is a copy of a job file in which the job has another name.
func (o *operator) jobFileAs(name, file string) string {
	o.t.Helper()
	data, err := os.ReadFile(repository() + "/" + file)
	if err != nil {
		o.t.Fatal(err)
	}
	path := o.t.TempDir() + "/job.yaml"
	renamed := regexp.MustCompile(`(?m)^name: .*$`).ReplaceAllLiteralString(string(data), "name: "+name)
	if err := os.WriteFile(path, []byte(renamed), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}
