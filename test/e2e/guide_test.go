//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// guide goes through the two ways of the guide for upgrading PAI, word for
// word, on the machine of a cluster that is no longer needed: first Kubernetes
// (config upgrade, k8s-clean, k8s-bootup), which keeps the cluster's data; then
// the services (service stop, service start) under a job that does not notice.
// The configuration is the example that the historical PAI published.
func (o *operator) guide() {
	t := o.t
	o.run(5*time.Minute, "cluster", "k8s-clean", "--delete-data", "--yes")
	o.publishedExample(older)
	o.run(10*time.Minute, "cluster", "k8s-bootup", "--yes")
	o.run(10*time.Minute, "service", "start", "--yes")
	o.kubectl("create configmap kept --from-literal=by=the-guide")

	o.configUpgrade()
	o.part("k8s-clean and k8s-bootup bring the cluster back at the new version, with its data", func(o *operator) {
		t := o.t
		uid := o.kubectl("get namespace kube-system -o jsonpath={.metadata.uid}")
		o.run(5*time.Minute, "cluster", "k8s-clean", "--yes")
		o.run(10*time.Minute, "cluster", "k8s-bootup", "--yes")
		if v := o.serverVersion(); v != newerUpstream {
			t.Errorf("the API server is %s, not %s", v, newerUpstream)
		}
		if now := o.kubectl("get namespace kube-system -o jsonpath={.metadata.uid}"); now != uid {
			t.Errorf("another cluster came back: %s, was %s", now, uid)
		}
		if by := o.kubectl("get configmap kept -o jsonpath={.data.by}"); by != "the-guide" {
			t.Errorf("the cluster's data is not there: %q", by)
		}
		if file := o.on("pai-1", "find /var/lib/pai/snapshots -name "+olderKubernetes+"-to-"+newerKubernetes+".db -size +100k"); strings.TrimSpace(file) == "" {
			t.Error("the data was not kept in a snapshot before it changed")
		}
	})

	o.eventually(5*time.Minute, "the older services run on the newer Kubernetes", func() (bool, string) {
		out, err := o.trySoon("cluster", "status")
		return err == nil && strings.Contains(out, older+" ") && !strings.Contains(out, "not ready"), out
	})
	o.submit("examples/train.yaml", 2)
	before := o.jobContainers()
	o.part("service stop and start bring the services up at the new release, jobs untouched", func(o *operator) {
		t := o.t
		o.run(5*time.Minute, "service", "stop", "--yes")
		var w struct {
			Services         map[string]any
			RecordedServices string
		}
		o.json(&w, "cluster", "status")
		if len(w.Services) > 0 || w.RecordedServices != older {
			t.Errorf("after the stop: services %v, recorded release %q", w.Services, w.RecordedServices)
		}
		var p struct {
			Hops []struct{ Kind, From, To string }
		}
		o.json(&p, "service", "start", "--dry-run")
		if len(p.Hops) != 1 || p.Hops[0].From != older || p.Hops[0].To != newer {
			t.Errorf("what was stopped is started without a hop: %+v", p.Hops)
		}
		o.run(10*time.Minute, "service", "start", "--yes")
		o.wantContainers(before)
		o.run(time.Minute, "service", "status")
		if n := o.runningJobs(); n != 1 { // through the REST server, with a token of the older release
			t.Errorf("%d jobs run, want 1", n)
		}
	})
	t.Run("services are refreshed and deleted with no more restarts than that needs", func(t *testing.T) { o.serviceVerbs(before) })
	o.part("then nothing is left to upgrade", func(o *operator) {
		t := o.t
		var p struct{ Steps []struct{ ID string } }
		o.json(&p, "upgrade", "plan")
		if len(p.Steps) > 0 {
			t.Errorf("%+v", p.Steps)
		}
	})
}

// configUpgrade is the guide's first step: the configuration names the newer
// versions, and nothing that runs has changed.
func (o *operator) configUpgrade() {
	o.t.Helper()
	o.run(time.Minute, "config", "upgrade", "--to", newer)
	o.run(time.Minute, "config", "check", "--cluster-id", "local")
}

// trySoon is try with a limit of a minute.
func (o *operator) trySoon(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return o.try(ctx, nil, args...)
}
