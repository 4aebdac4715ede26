//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"
)

// rollBack rolls an upgraded cluster back while jobs run: the services,
// Kubernetes after its commit, and, in the next upgrade, Kubernetes before it.
// The containers of the jobs stay the same each time. A job that was started
// since a snapshot ends, and only with an accepted risk.
func (o *operator) rollBack() {
	before := o.jobContainers()
	previous := operationPair{Services: older, Kubernetes: olderKubernetes}

	o.part("the services", func(o *operator) {
		t := o.t
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
		// Two: this one, and the one that tried to get the device that was taken.
		for _, want := range []string{"lose-writes-since-snapshot", "interrupt-jobs", "~since", "jobsets.jobset.x-k8s.io 2 created", "pods"} {
			if !strings.Contains(text, want) {
				t.Errorf("the refusal does not say %q:\n%s", want, text)
			}
		}
		if text := refused("--accept-risk=lose-writes-since-snapshot"); !strings.Contains(text, "interrupt-jobs") {
			t.Errorf("accepting one risk was enough:\n%s", text)
		}
		o.run(10*time.Minute, "upgrade", "rollback", "--yes", "--accept-risk=lose-writes-since-snapshot,interrupt-jobs")
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
	})

	o.part("Kubernetes before its commit, by itself", func(o *operator) {
		t := o.t
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
	data, err := os.ReadFile(repository() + "/" + file)
	if err != nil {
		o.t.Fatal(err)
	}
	path := o.t.TempDir() + "/job.yaml"
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), "name: train", "name: "+name, 1)), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.run(time.Minute, "job", "submit", path)
	o.eventually(2*time.Minute, "job "+name+" runs", func() (bool, string) {
		out := o.run(time.Minute, "job", "show", name, "-o", "json")
		return strings.Contains(out, `"RUNNING"`), out
	})
}
