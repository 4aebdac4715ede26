//go:build e2e

package e2e

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOldestRelease upgrades a cluster of v0.9, booted by the paictl of v0.9, in
// two hops of Kubernetes and of the services under a job, and rolls both back.
// The configuration directory has schema 1, and the users are one document.
func TestOldestRelease(t *testing.T) {
	inTestAll(t, "two more minutes for the bundle of v0.9, and ten for the test")
	o := newOperator(t, "oldest")
	o.bootFrozen("v0.9")
	configured := o.configuration("config")
	if _, old := configured["cluster-configuration.yaml"]; !old {
		t.Fatalf("got configuration %v of v0.9", configured)
	}
	o.wantUsers("users.json")
	o.submit("examples/train.yaml", 2)
	before := o.jobContainers()

	o.part("the plan has both hops", func(o *operator) {
		out := o.run(2*time.Minute, "upgrade", "plan", "--to", newer)
		for _, want := range []string{"schema-2", "v0.9-pai → v0.10-pai", "v0.10-pai → v0.11-pai", "v0.9 → v0.10", "v0.10 → v0.11", "train"} {
			if !strings.Contains(out, want) {
				o.t.Errorf("the plan does not say %q:\n%s", want, out)
			}
		}
	})
	o.part("both hops under the job", func(o *operator) {
		o.run(20*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
		if op := o.lastOperation(); op.Outcome != "succeeded" || op.From.Kubernetes != "v0.9-pai" || op.To.Kubernetes != newerKubernetes ||
			op.From.Services != "v0.9" || op.To.Services != newer || op.Jobs.Before != 1 || op.Jobs.After != 1 || len(op.Jobs.Interrupted) != 0 {
			o.t.Errorf("recorded: %+v", op)
		}
		if v := o.serverVersion(); v != newerUpstream {
			o.t.Errorf("the API server is %s, not %s", v, newerUpstream)
		}
		o.wantContainers(before)
		if n := o.runningJobs(); n != 1 { // with the token of v0.9's time
			o.t.Errorf("%d jobs run, want 1", n)
		}
	})
	o.part("users and configuration have the form of the newer release", func(o *operator) {
		o.wantUsers("")
		if now := o.configuration("config"); len(now) != 3 || !strings.Contains(now["layout.yaml"], "schema-version: 2") {
			o.t.Errorf("got configuration %v", now)
		}
		if kept := o.configuration("config.former-1"); !reflect.DeepEqual(kept, configured) {
			o.t.Errorf("got kept files %v, want %v", kept, configured)
		}
		o.run(time.Minute, "config", "check")
	})
	back := func(name string, to operationPair, args ...string) bool {
		return o.part(name, func(o *operator) {
			out := o.run(10*time.Minute, append([]string{"upgrade", "rollback", "--yes"}, args...)...)
			if op := o.lastMove(); op.Verb != "rollback" || op.Outcome != "succeeded" || op.To != to {
				o.t.Errorf("recorded: %+v\n%s", op, out)
			}
			o.wantContainers(before)
		})
	}
	// Kueue of v0.9 does not have the version in which that of v0.11 stores its objects.
	if !back("the services are rolled back over both hops", operationPair{Services: "v0.9", Kubernetes: newerKubernetes}, "--services") ||
		!back("Kubernetes is rolled back over both hops", operationPair{Services: "v0.9", Kubernetes: "v0.9-pai"}, "--accept-risk=lose-writes-since-snapshot") {
		return
	}
	if v := o.serverVersion(); v != "v1.35.4" {
		o.t.Errorf("the API server is %s", v)
	}
	o.wantUsers("users.json")
}

// wantUsers wants the Secret of the REST server's users to be one document under a
// key, or, without a key, to have an entry for each user.
func (o *operator) wantUsers(document string) {
	o.t.Helper()
	var data map[string]string
	out := o.kubectl("-n pai-system get secret rest-server-users -o jsonpath={.data}")
	if err := json.Unmarshal([]byte(out), &data); err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	var keys []string
	for k := range data {
		keys = append(keys, k)
	}
	if document != "" && !slices.Equal(keys, []string{document}) || document == "" && (len(keys) == 0 || slices.Contains(keys, "users.json")) {
		o.t.Errorf("the users are stored as %v", keys)
	}
}
