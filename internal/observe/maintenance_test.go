package observe

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// The record on the control-plane machine is known without the API; the marks of a node
// come from the API.
func TestMaintenanceIsObserved(t *testing.T) {
	t.Parallel()
	cfg := twoMachines("v0.9")
	control := cfg.ControlPlane().Hostname
	worker := cfg.Workers()[0].Hostname
	host := inspecttest.NewHost(t, control)
	host.Write(layout.MaintenanceFile, `{"machines":{"`+worker+`":{"since":"2026-11-27T09:00:00Z","by":"ann@ops","operation":"op-1"},"other":{}}}`)
	w := plan.World{Machines: []plan.MachineState{{Name: control, ControlPlane: true}, {Name: worker}}}
	src := Source{Config: cfg, Hosts: map[string]machine.Host{control: host}}
	if err := readRecord(t.Context(), src, &w); err != nil {
		t.Fatal(err)
	}
	if m := w.Machines[1].Maintenance; w.Machines[0].Maintenance != nil || m == nil || m.By != "ann@ops" || m.Operation != "op-1" || m.Since.IsZero() {
		t.Errorf("got %+v, want the record of %s", w.Machines, worker)
	}
	if got := w.Unconfigured.Maintained; !slices.Equal(got, []string{"other"}) {
		t.Errorf("got %q, want the record of a machine that is not in the configuration", got)
	}
	addNodes(&w, []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: worker, Annotations: map[string]string{
		pai.AnnotationMaintenance: "op-1", pai.AnnotationInMaintenance: "2026-11-27T09:00:00Z"}}}})
	if n := w.Machines[1].Node; n.Maintenance != "op-1" || !n.InMaintenance || n.CordonedByPAI || !n.Unlabeled {
		t.Errorf("got %+v, want a cordon for maintenance without its label", n)
	}
	host.Write(layout.MaintenanceFile, "[")
	if err := readRecord(t.Context(), src, &w); err == nil {
		t.Error("got no error for a damaged record")
	}
}
