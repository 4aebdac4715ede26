package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// maintenanceNode is a node, cordoned by a manager if one is named.
func maintenanceNode(name, annotations, cordonedBy string) string {
	spec, fields := "{}", ""
	if cordonedBy != "" {
		spec = `{"unschedulable":true}`
		fields = fmt.Sprintf(`,"managedFields":[{"manager":%q,"operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:unschedulable":{}}}}]`, cordonedBy)
	}
	return fmt.Sprintf(`{"kind":"Node","apiVersion":"v1","metadata":{"name":%q,"resourceVersion":"1","annotations":{%s}%s},"spec":%s}`, name, annotations, fields, spec)
}

// maintenanceCluster has a worker, pai-2, whose node is as given, and what the API and
// the record have of it.
func maintenanceCluster(t *testing.T, node string) (c *comparedCluster, api *fakeAPI, state func() (corev1.Node, map[string]pai.Maintenance)) {
	t.Helper()
	c = scripted(t)
	api, c.deps.Kube = newFakeAPI(t, map[string]string{nodePath + "pai-2": node})
	c.deps.Operation = func() (pai.Operation, error) { return pai.Operation{ID: "op-1", By: "ann@ops"}, nil }
	return c, api, func() (n corev1.Node, all map[string]pai.Maintenance) {
		t.Helper()
		if err := json.Unmarshal([]byte(api.objects[nodePath+"pai-2"]), &n); err != nil {
			t.Fatal(err)
		}
		all, err := Maintained(t.Context(), c.deps.Hosts["pai-1"])
		if err != nil {
			t.Fatal(err)
		}
		return n, all
	}
}

func maintenanceStep(kind plan.Kind) plan.Step { return plan.Step{Kind: kind, Target: "pai-2"} }

func TestMaintenanceAndReturnOfAMachine(t *testing.T) {
	t.Parallel()
	c, api, state := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	doStep(t, c.deps, maintenanceStep(plan.KindCordon))
	n, all := state()
	if !n.Spec.Unschedulable || n.Annotations[pai.AnnotationMaintenance] != "op-1" || n.Labels[pai.LabelMaintenance] == "" || len(all) != 0 {
		t.Fatalf("got %+v, %v, want a cordon and no record", n, all)
	}
	doStep(t, c.deps, maintenanceStep(plan.KindMaintenance))
	n, all = state()
	first := all["pai-2"]
	if first.By != "ann@ops" || first.Operation != "op-1" || first.Since.IsZero() || n.Annotations[pai.AnnotationInMaintenance] == "" {
		t.Fatalf("got %+v, %+v, want a record and a mark", n.Annotations, all)
	}
	// Without the mark, the step is done again, and since when stays.
	c.deps.Operation = func() (pai.Operation, error) { return pai.Operation{ID: "op-2", By: "bob@ops"}, nil }
	delete(n.Annotations, pai.AnnotationInMaintenance)
	api.set(t, nodePath+"pai-2", &n)
	doStep(t, c.deps, maintenanceStep(plan.KindMaintenance))
	if _, all = state(); all["pai-2"] != first {
		t.Errorf("got %+v, want the first record %+v", all["pai-2"], first)
	}
	doStep(t, c.deps, maintenanceStep(plan.KindReturn))
	if n, all = state(); len(all) != 0 || n.Annotations[pai.AnnotationMaintenance] != "" || n.Labels[pai.LabelMaintenance] != "" || n.Annotations[pai.AnnotationInMaintenance] != "" {
		t.Errorf("got %+v, %v, want nothing of the maintenance", n.Annotations, all)
	}
}

// The return removes the cordon if PAI set it, and leaves that of an operator.
func TestReturnUncordonsWhatPAICordoned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		annotations, manager string
		before, cordoned     bool // before the maintenance; after the return
	}{
		"cordoned for maintenance": {`"` + pai.AnnotationMaintenance + `":"op-1"`, pai.FieldManager, false, false},
		"cordoned by an operator":  {"", "kubectl", true, true},
		"cordoned by an upgrade":   {`"` + pai.AnnotationCordoned + `":"op-0"`, pai.FieldManager, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _, state := maintenanceCluster(t, maintenanceNode("pai-2", c.annotations, c.manager))
			if c.before {
				doStep(t, f.deps, maintenanceStep(plan.KindCordon))
				if n, _ := state(); n.Annotations[pai.AnnotationCordoned] != "" || CordonedByPAI(&n) != "" {
					t.Errorf("got %v, want a cordon that no other operation removes", n.Annotations)
				}
			}
			if err := Uncordon(t.Context(), mustKube(t, f), "pai-2"); err != nil {
				t.Fatal(err)
			}
			if n, _ := state(); !n.Spec.Unschedulable {
				t.Error("another operation uncordoned the machine")
			}
			doStep(t, f.deps, maintenanceStep(plan.KindReturn))
			if n, _ := state(); n.Spec.Unschedulable != c.cordoned {
				t.Errorf("got cordoned %v, want %v", n.Spec.Unschedulable, c.cordoned)
			}
		})
	}
}

// A machine that never joined has no node to cordon.
func TestMaintenanceWithoutANode(t *testing.T) {
	t.Parallel()
	c, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	delete(api.objects, nodePath+"pai-2")
	doStep(t, c.deps, maintenanceStep(plan.KindMaintenance))
	back := maintenanceStep(plan.KindReturn)
	back.To = "v0.10-pai"
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := Doers(c.deps)[plan.KindReturn].Do(ctx, back); err == nil || !strings.Contains(err.Error(), "node pai-2 does not exist") {
		t.Errorf("got %v, want no return of a machine without a node", err)
	}
	doStep(t, c.deps, maintenanceStep(plan.KindReturn))
	if done, err := Doers(c.deps)[plan.KindCordon].Done(t.Context(), maintenanceStep(plan.KindCordon)); err != nil || !done {
		t.Errorf("got done %v, %v, want nothing to cordon", done, err)
	}
}

func TestDamagedRecordOfMaintenanceIsAnError(t *testing.T) {
	t.Parallel()
	c, _, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	c.hosts["pai-1"].Write(layout.MaintenanceFile, "{")
	if _, err := Maintained(t.Context(), c.deps.Hosts["pai-1"]); err == nil || !strings.Contains(err.Error(), layout.MaintenanceFile) {
		t.Errorf("got %v, want the file named", err)
	}
	for _, kind := range []plan.Kind{plan.KindMaintenance, plan.KindReturn} {
		if err := Doers(c.deps)[kind].Do(t.Context(), maintenanceStep(kind)); err == nil {
			t.Errorf("%s: got no error, and a record overwritten", kind)
		}
	}
	failed := errors.New("no entry")
	c.deps.Operation = func() (pai.Operation, error) { return pai.Operation{}, failed }
	if err := Doers(c.deps)[plan.KindCordon].Do(t.Context(), maintenanceStep(plan.KindCordon)); !errors.Is(err, failed) {
		t.Errorf("got %v, want no cordon without an operation", err)
	}
}

func TestDrainIsDoneWithoutJobs(t *testing.T) {
	t.Parallel()
	const pods = "/api/v1/namespaces/pai-vc-default/pods/"
	pod := func(extra string) string {
		return `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"pai-vc-default","uid":"u","labels":{"pai.dev/job":"j"}` + extra + `},"status":{"phase":"Running"}}`
	}
	for name, c := range map[string]struct {
		pod  string
		off  bool
		want bool
	}{
		"no pod":                      {"", false, true},
		"a pod":                       {pod(""), false, false},
		"a pod that ends":             {pod(`,"deletionTimestamp":"2026-01-01T00:00:00Z"`), false, false},
		"off, no pod":                 {"", true, true},
		"off, a pod":                  {pod(""), true, false},
		"off, a pod that was evicted": {pod(`,"deletionTimestamp":"2026-01-01T00:00:00Z"`), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
			if c.pod != "" {
				api.objects[pods+"a"] = c.pod
			}
			if c.off {
				delete(f.deps.Hosts, "pai-2")
			}
			f.deps.EndsJobs = func(machine string) bool { return machine == "pai-2" }
			doer := Doers(f.deps)[plan.KindDrain]
			if got, err := doer.Done(t.Context(), maintenanceStep(plan.KindDrain)); err != nil || got != c.want {
				t.Errorf("got done %v, %v, want %v", got, err, c.want)
			}
			if err := doer.Do(t.Context(), maintenanceStep(plan.KindDrain)); err != nil {
				t.Fatal(err)
			}
			if evicts := strings.HasPrefix(name, "a pod") && c.pod == pod("") || name == "off, a pod"; evicts != (len(api.evicted) == 1) {
				t.Errorf("got %v evicted", api.evicted)
			}
		})
	}
}

func mustKube(t *testing.T, c *comparedCluster) kubernetes.Interface {
	t.Helper()
	k, err := c.deps.Kube(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k.Clientset()
}

// A job can start between the look of the guard and the step, or between the drain and the
// record. Its end was not accepted.
func TestMaintenanceEndsNoJobThatStartedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, kind := range []plan.Kind{plan.KindDrain, plan.KindMaintenance} {
		c, api, state := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
		api.objects["/api/v1/namespaces/pai-vc-default/pods/a"] = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"pai-vc-default","uid":"u","labels":{"pai.dev/job":"j"}},"status":{"phase":"Running"}}`
		err := Doers(c.deps)[kind].Do(t.Context(), maintenanceStep(kind))
		if pai.CodeOf(err) != pai.CodeFailed || !strings.Contains(err.Error(), "started on pai-2") || len(api.evicted) > 0 {
			t.Errorf("%s: got %v and %v evicted, want an error that names the machine", kind, err, api.evicted)
		}
		if n, all := state(); len(all) > 0 || n.Annotations[pai.AnnotationInMaintenance] != "" {
			t.Errorf("%s: got a record of a maintenance", kind)
		}
	}
}

// A return that failed can leave the cordon of one of its steps. The next one removes it.
func TestReturnRemovesTheCordonOfAFailedReturn(t *testing.T) {
	t.Parallel()
	c, _, state := maintenanceCluster(t, maintenanceNode("pai-2", `"`+pai.AnnotationCordoned+`":"op-0"`, pai.FieldManager))
	doStep(t, c.deps, maintenanceStep(plan.KindReturn))
	if n, _ := state(); n.Spec.Unschedulable || n.Annotations[pai.AnnotationCordoned] != "" {
		t.Errorf("got %+v, want a machine that takes jobs", n)
	}
}

// A restored etcd does not know of a maintenance that began after its snapshot. The record
// does, and jobs must not start on the machine.
func TestRestoredEtcdKeepsTheMaintenance(t *testing.T) {
	t.Parallel()
	c, _, state := maintenanceCluster(t, maintenanceNode("pai-2", `"`+pai.AnnotationCordoned+`":"op-0"`, ""))
	c.hosts["pai-1"].Write(layout.MaintenanceFile, `{"machines":{"pai-2":{"since":"2026-11-27T09:00:00Z","by":"ann@ops","operation":"op-1"},"gone":{}}}`)
	if err := (&cluster{Deps: c.deps}).markMaintained(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, _ := state()
	if !n.Spec.Unschedulable || n.Annotations[pai.AnnotationMaintenance] != "op-1" || n.Annotations[pai.AnnotationInMaintenance] != "2026-11-27T09:00:00Z" || n.Annotations[pai.AnnotationCordoned] != "" {
		t.Errorf("got %+v, %v, want the machine in maintenance", n.Spec, n.Annotations)
	}
}

// A restored etcd can have the marks of a machine that has returned since its snapshot. Jobs
// start there again. A machine that waits for its jobs never had a record, and stays cordoned.
func TestRestoredEtcdEndsTheMaintenanceOfAReturnedMachine(t *testing.T) {
	t.Parallel()
	for what, waits := range map[string]bool{"in maintenance": false, "waits": true} {
		c, api, state := maintenanceCluster(t, maintenanceNode("pai-2", `"`+pai.AnnotationMaintenance+`":"op-1"`, pai.FieldManager))
		n, _ := state()
		n.Labels = map[string]string{pai.LabelMaintenance: "true"}
		if !waits {
			n.Annotations[pai.AnnotationInMaintenance] = "2026-11-27T09:00:00Z"
		}
		api.set(t, nodePath+"pai-2", &n)
		done := withMarks{restoredDoer(true), &cluster{Deps: c.deps}}
		if ok, err := done.Done(t.Context(), plan.Step{}); err != nil || ok != waits {
			t.Errorf("%s: got done %v, %v, want %v", what, ok, err, waits)
		}
		if err := done.cluster.markMaintained(t.Context()); err != nil {
			t.Fatal(err)
		}
		n, _ = state()
		marks := len(n.Annotations) + len(n.Labels)
		if ok, err := done.Done(t.Context(), plan.Step{}); err != nil || !ok || n.Spec.Unschedulable != waits || (marks > 0) != waits {
			t.Errorf("%s: got done %v, %v, cordoned %v with %d marks", what, ok, err, n.Spec.Unschedulable, marks)
		}
	}
}

// restoredDoer is a restore whose API server and etcd run.
type restoredDoer bool

func (d restoredDoer) Done(context.Context, plan.Step) (bool, error) { return bool(d), nil }
func (restoredDoer) Do(context.Context, plan.Step) error             { return nil }

// A restore that was killed, or failed, before it marked the machines is not done: the next
// steps start the scheduler.
func TestRestoreIsDoneWithMarks(t *testing.T) {
	t.Parallel()
	const record = `{"machines":{"pai-2":{"since":"2026-11-27T09:00:00Z","by":"ann@ops","operation":"op-1"},"no-node":{}}}`
	c, api, state := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	doer, ok := Doers(c.deps)[plan.KindRestore].(withMarks)
	if !ok {
		t.Fatalf("got %T, want a step that wants the marks", Doers(c.deps)[plan.KindRestore])
	}
	cl := doer.cluster
	done := func(restored bool) bool {
		t.Helper()
		ok, err := withMarks{restoredDoer(restored), cl}.Done(t.Context(), plan.Step{})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !done(true) || done(false) {
		t.Error("without a machine in maintenance: got another answer than that of the restore")
	}
	c.hosts["pai-1"].Write(layout.MaintenanceFile, record)
	if done(true) {
		t.Error("got done without marks")
	}
	if err := cl.markMaintained(t.Context()); err != nil || !done(true) || done(false) {
		t.Errorf("got %v, and not done with marks", err)
	}
	marked, _ := state()
	for what, change := range map[string]func(n *corev1.Node){
		"cordon":           func(n *corev1.Node) { n.Spec.Unschedulable = false },
		"label":            func(n *corev1.Node) { n.Labels = nil },
		"mark":             func(n *corev1.Node) { delete(n.Annotations, pai.AnnotationMaintenance) },
		"mark of a record": func(n *corev1.Node) { delete(n.Annotations, pai.AnnotationInMaintenance) },
	} {
		n := marked.DeepCopy()
		change(n)
		api.set(t, nodePath+"pai-2", n)
		if done(true) {
			t.Errorf("got done without the %s", what)
		}
		for _, kind := range []plan.Kind{plan.KindCordon, plan.KindMaintenance} {
			if ok, err := Doers(c.deps)[kind].Done(t.Context(), maintenanceStep(kind)); err != nil || ok && (kind == plan.KindMaintenance || what != "mark of a record") {
				t.Errorf("%s: got done %v, %v without the %s", kind, ok, err, what)
			}
		}
	}
}

// CoreDNS of v0.11 starts on no machine in maintenance. That of older releases stays as it is
// while no machine is in maintenance.
func TestDNSAvoidsMaintenance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		upstream    string
		maintenance bool
		want        bool
	}{
		{"v1.36.3", false, false}, {"v1.36.3", true, true}, {"v1.37.2", false, true},
	} {
		c, _, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
		if test.maintenance {
			doStep(t, c.deps, maintenanceStep(plan.KindCordon))
		}
		got, err := (&cluster{Deps: c.deps}).dnsAvoidsMaintenance(t.Context(), test.upstream, machineChange{})
		if err != nil || got != test.want {
			t.Errorf("%+v: got %v, %v", test, got, err)
		}
	}
}

// A machine that was in maintenance returns when its node is ready. One that only waits for
// its jobs can be off.
func TestReturnWaitsForAReadyNode(t *testing.T) {
	t.Parallel()
	c, api, state := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	doStep(t, c.deps, maintenanceStep(plan.KindCordon))
	doStep(t, c.deps, maintenanceStep(plan.KindMaintenance))
	back := maintenanceStep(plan.KindReturn)
	back.To = "v0.10-pai"
	ready := func(status corev1.ConditionStatus) {
		n, _ := state()
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Message: "no network plugin"}}
		api.set(t, nodePath+"pai-2", &n)
	}
	ready(corev1.ConditionFalse)
	waiting, _, _ := maintenanceCluster(t, maintenanceNode("pai-2", `"`+pai.AnnotationMaintenance+`":"op-1"`, pai.FieldManager))
	if err := Doers(waiting.deps)[plan.KindDNSBack].Do(t.Context(), back); err != nil {
		t.Errorf("got %v for a machine that waits for its jobs, want no wait for its node", err)
	}
	for _, kind := range []plan.Kind{plan.KindReturn, plan.KindDNSBack} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := Doers(c.deps)[kind].Do(ctx, back)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "no network plugin") || !strings.Contains(pai.NextOf(err), "journalctl -u pai-kubelet") {
			t.Errorf("%s: got %v, %q, want the reason and where to look", kind, err, pai.NextOf(err))
		}
	}
	if n, all := state(); len(all) != 1 || !n.Spec.Unschedulable {
		t.Errorf("got %+v and record %v, want the machine still in maintenance", n.Spec, all)
	}
	ready(corev1.ConditionTrue)
	doStep(t, c.deps, back)
	ready(corev1.ConditionUnknown)
	for to, want := range map[pai.AnyVersion]bool{"v0.10-pai": false, "": true} {
		back.To = to
		if done, err := Doers(c.deps)[plan.KindReturn].Done(t.Context(), back); err != nil || done != want {
			t.Errorf("to %q without a ready node: got done %v, %v, want %v", to, done, err, want)
		}
	}
}
