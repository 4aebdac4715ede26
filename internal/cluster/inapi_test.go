package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const nodePath = "/api/v1/nodes/"

func nodeJSON(name, kubelet, ready string) string {
	return fmt.Sprintf(`{"kind":"Node","apiVersion":"v1","metadata":{"name":%q,"resourceVersion":"1"},"spec":{},
		"status":{"nodeInfo":{"kubeletVersion":%q},"conditions":[{"type":"Ready","status":%q}]}}`, name, kubelet, ready)
}

func TestCordonOfAnOperation(t *testing.T) {
	t.Parallel()
	_, connect := newFakeAPI(t, map[string]string{nodePath + "pai-2": nodeJSON("pai-2", "v1.36.3", "True")})
	k, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	core := k.Clientset()
	for _, c := range []struct {
		name string
		want bool
	}{{"pai-2", true}, {"pai-2", false}, {"pai-3", false}} {
		if got, err := Cordon(t.Context(), core, c.name, "op-1"); err != nil || got != c.want {
			t.Errorf("%s: got cordoned %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	node := func() *corev1.Node {
		t.Helper()
		n, err := core.CoreV1().Nodes().Get(t.Context(), "pai-2", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := node(); !n.Spec.Unschedulable || n.Annotations[pai.AnnotationCordoned] != "op-1" {
		t.Errorf("got %+v, want a node that the operation cordoned", n)
	}
	doStep(t, Deps{Kube: connect}, plan.Step{Kind: plan.KindUncordon, Target: "pai-2"})
	if n := node(); n.Annotations[pai.AnnotationCordoned] != "" {
		t.Errorf("got annotations %v, want none of PAI", n.Annotations)
	}
	if err := Uncordon(t.Context(), core, "pai-2"); err != nil {
		t.Errorf("got %v for a node that PAI did not cordon, want nothing to do", err)
	}
	if _, err := Doers(Deps{Kube: connect})[plan.KindUncordon].Done(t.Context(), plan.Step{Target: "pai-3"}); err == nil {
		t.Error("got no error for a node that does not exist")
	}
}

func TestEvictJobsEvictsLivingPods(t *testing.T) {
	t.Parallel()
	const pods = "/api/v1/namespaces/pai-vc-default/pods/"
	pod := func(name, phase, extra string) string {
		return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":"pai-vc-default","uid":"u","labels":{"pai.dev/job":"j"}%s},"status":{"phase":%q}}`, name, extra, phase)
	}
	api, connect := newFakeAPI(t, map[string]string{pods + "runs": pod("runs", "Running", ""), pods + "ended": pod("ended", "Succeeded", "")})
	k, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := EvictJobs(t.Context(), k.Clientset(), "pai-2"); err != nil || !slices.Equal(api.evicted, []string{pods + "runs"}) {
		t.Errorf("got %v after %v was evicted, want only the running pod", err, api.evicted)
	}
	api.objects[pods+"ends"] = pod("ends", "Running", `,"deletionTimestamp":"2026-01-01T00:00:00Z"`)
	living, err := jobPods(t.Context(), k.Clientset(), "pai-2")
	if err != nil || len(living) != 1 {
		t.Fatalf("got %v, %v, want the pod that ends", living, err)
	}
	if err := evictPods(t.Context(), k.Clientset(), living); err != nil || len(api.evicted) != 1 {
		t.Errorf("got %v after %v, want no eviction of a pod that ends already", err, api.evicted)
	}
}

func TestRecordIsDoneInFileAndAPI(t *testing.T) {
	t.Parallel()
	const path = "/api/v1/namespaces/" + pai.SystemNamespace + "/configmaps/" + pai.ClusterConfigMap
	c := scripted(t)
	api, connect := newFakeAPI(t, map[string]string{})
	c.deps.Kube = connect
	h := c.hosts["pai-1"]
	step := plan.Step{Kind: plan.KindRecord, To: pai.AnyVersion(comparedVersion)}
	inAPI := func(kubernetes string) {
		api.objects[path] = fmt.Sprintf(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q},"data":{"clusterId":"test","kubernetes":%q,"services":"v0.9"}}`, pai.ClusterConfigMap, kubernetes)
	}
	for _, s := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"nothing", func() {}, false},
		{"only in the API", func() { inAPI(string(comparedVersion)) }, false},
		{"damaged file", func() { h.Write(layout.ClusterRecordFile, "{") }, false},
		{"both", func() {
			h.Write(layout.ClusterRecordFile, `{"clusterId":"test","kubernetes":"v0.10-pai","services":"v0.9"}`)
		}, true},
		{"older in the API", func() { inAPI("v0.9-pai") }, false},
	} {
		s.change()
		if got, err := Doers(c.deps)[plan.KindRecord].Done(t.Context(), step); err != nil || got != s.want {
			t.Errorf("%s: got done %v, %v, want %v", s.name, got, err, s.want)
		}
	}
	want, _, err := (&cluster{Deps: c.deps}).nextRecord(t.Context(), plan.Step{Kind: plan.KindServices, To: "v0.10"})
	if err != nil || want.Services != "v0.10" || want.Kubernetes != "v0.9-pai" {
		t.Errorf("got %+v, %v, want only the services changed", want, err)
	}
	down := errors.New("connection refused")
	c.deps.Kube = func(context.Context) (*kube.Client, error) { return nil, down }
	if _, err := Doers(c.deps)[plan.KindRecord].Done(t.Context(), step); !errors.Is(err, down) {
		t.Errorf("got %v, want the API outage", err)
	}
}

func TestKubeletIsDoneWithItsNode(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-2"]
	h.Write(installedFile(comparedVersion), `{"upstream":"v1.36.3"}`)
	api, connect := newFakeAPI(t, map[string]string{})
	c.deps.Kube = connect
	step := plan.Step{Kind: plan.KindKubelet, Target: "pai-2", To: pai.AnyVersion(comparedVersion)}
	for _, s := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"no serving certificate", func() {}, false},
		{"no node", func() { h.Write(layout.KubeletServingCertificate, "") }, false},
		{"not ready", func() { api.objects[nodePath+"pai-2"] = nodeJSON("pai-2", "v1.36.3", "False") }, false},
		{"older kubelet reported", func() { api.objects[nodePath+"pai-2"] = nodeJSON("pai-2", "v1.35.4", "True") }, false},
		{"done", func() { api.objects[nodePath+"pai-2"] = nodeJSON("pai-2", "v1.36.3", "True") }, true},
		{"other settings", func() { c.start(h, plan.RoleKubelet, 170, "0123") }, false},
	} {
		s.change()
		if got, err := Doers(c.deps)[plan.KindKubelet].Done(t.Context(), step); err != nil || got != s.want {
			t.Errorf("%s: got done %v, %v, want %v", s.name, got, err, s.want)
		}
	}
}

func TestKubeletsReportToARestoredAPI(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	for _, h := range c.hosts {
		h.Write(installedFile(comparedVersion), `{"upstream":"v1.36.3"}`)
	}
	_, connect := newFakeAPI(t, map[string]string{nodePath + "pai-1": nodeJSON("pai-1", "v1.36.3", "True")}) // pai-2 joined later
	c.deps.Kube = connect
	c.deps.Hosts["pai-3"], c.deps.Hosts["pai-4"] = nil, &lostHost{err: machine.ErrConnectionLost}
	var said []string
	c.deps.Progress = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if err := (&cluster{Deps: c.deps}).awaitReports(t.Context()); err != nil || len(said) != 1 || !strings.Contains(said[0], "pai-4") {
		t.Errorf("got %v, %q, want only the unknown machine named", err, said)
	}
}

func TestNodeIsAwaited(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h, m := c.hosts["pai-2"], c.deps.Config.Workers()[0]
	h.Write(layout.KubeletServingCertificate, "")
	_, connect := newFakeAPI(t, map[string]string{nodePath + "pai-2": nodeJSON("pai-2", "v1.36.3", "True")})
	k, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := (&cluster{Deps: c.deps}).awaitNode(t.Context(), k, h, m, "v1.36.3"); err != nil {
		t.Errorf("got %v for a node that is ready", err)
	}
	if manifests, err := AppliedManifests(t.Context(), k); err != nil || manifests != (plan.Manifests{}) {
		t.Errorf("got %+v, %v without inventories, want no digests", manifests, err)
	}
}

func TestEtcdOfARollback(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	step := plan.Step{From: pai.AnyVersion(comparedVersion), To: "v0.9-pai"}
	for older, want := range map[string]pai.KubernetesVersion{"3.6.1": "v0.9-pai", "3.5.9": comparedVersion} {
		h.Write(installedFile("v0.9-pai"), fmt.Sprintf(`{"programs":{"etcd":%q}}`, older))
		h.Write(installedFile(comparedVersion), `{"programs":{"etcd":"3.6.5"}}`)
		if got, err := etcdVersionFor(t.Context(), h, step); err != nil || got != want {
			t.Errorf("etcd %s: got %s, %v, want %s", older, got, err, want)
		}
	}
}

func TestCleanRunsItsScripts(t *testing.T) {
	t.Parallel()
	for _, wipe := range []bool{false, true} {
		c := scripted(t)
		h := c.hosts["pai-1"]
		left := "/opt/pai/role/etcd-a\n"
		h.Script = func(_ context.Context, cmd machine.Command) (string, error) {
			if strings.Contains(cmd.Script, "systemctl reset-failed") {
				left = ""
			}
			return left, nil
		}
		doStep(t, c.deps, plan.Step{Kind: plan.KindClean, Target: "pai-1", Wipe: wipe, Keep: []string{}})
		if got := h.Ran("/etc/hosts.pai"); got != wipe || !h.Ran("systemctl reset-failed") {
			t.Errorf("wipe %v: got wiped %v", wipe, got)
		}
		h.Script = func(context.Context, machine.Command) (string, error) { return "", machine.ErrConnectionLost }
		if err := Doers(c.deps)[plan.KindClean].Do(t.Context(), plan.Step{Kind: plan.KindClean, Target: "pai-1"}); err == nil || !strings.Contains(err.Error(), "pai-1") {
			t.Errorf("got %v, want an error with the machine", err)
		}
	}
}
