package cluster

import (
	"context"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// The API servers stop first and etcd last. If etcd must not stop, everything starts again.
func TestStopServingScript(t *testing.T) {
	t.Parallel()
	const (
		controllers  = "runs/pai-controller-manager.service"
		scheduler    = "runs/pai-scheduler.service"
		stopOthers   = "stop pai-controller-manager.service, stop pai-scheduler.service"
		startOthers  = "start pai-controller-manager.service, start pai-scheduler.service"
		stopEtcd     = "stop pai-etcd-a.service"
		disabled     = "disable pai-apiserver-a.service, disable pai-apiserver-b.service, disable pai-controller-manager.service, disable pai-scheduler.service, disable pai-etcd-a.service, disable pai-etcd-b.service"
		fiveAnswers  = "etcd-can-stop, etcd-can-stop, etcd-can-stop, etcd-can-stop, etcd-can-stop"
		fourAnswers  = "etcd-can-stop, etcd-can-stop, etcd-can-stop, etcd-can-stop"
		moveAndAsk   = "etcd-move-leader, etcd-can-stop"
		stopsServing = stopAPIServer + ", " + stopOthers
	)
	all := []string{apiServerA, controllers, scheduler, etcdA}
	for name, c := range map[string]struct {
		files []string
		calls []string
		ok    bool
	}{
		"all is well":               {all, []string{"etcd-can-stop", stopsServing, moveAndAsk, stopEtcd, disabled}, true},
		"etcd alone runs":           {[]string{etcdA}, []string{"etcd-can-stop", moveAndAsk, stopEtcd, disabled}, true},
		"etcd does not run":         {all[:3], []string{stopsServing, stopEtcd, disabled}, true},
		"the leadership stays":      {append([]string{"no-leader"}, all...), []string{"etcd-can-stop", stopsServing, moveAndAsk, stopEtcd, disabled}, true},
		"the others have no quorum": {append([]string{"never"}, all...), []string{fiveAnswers}, false},
		"they lose it meanwhile":    {append([]string{"first-only"}, all...), []string{"etcd-can-stop", stopsServing, moveAndAsk, fourAnswers, startA, startOthers}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, ok := runServingScript(t, "stop-serving.sh", c.files)
			if want := strings.Join(c.calls, ", "); got != want || ok != c.ok {
				t.Errorf("got\n%s, succeeded %v; want\n%s, succeeded %v", got, ok, want, c.ok)
			}
		})
	}
}

// A machine is out of service when nothing of the control plane runs, or starts at its next boot.
func TestStopServingIsDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		enabled string
		runs    bool
		want    bool
	}{
		"stopped":                    {"", false, true},
		"a controller runs":          {"", true, false},
		"etcd starts at a next boot": {layout.Unit(layout.RoleEtcdA), false, false},
	} {
		h := inspecttest.NewHost(t, "cp1")
		if c.runs {
			h.Process(42, layout.VersionDir("v0.11-pai")+"/bin/kube-scheduler", nil, nil)
			h.Units[layout.Unit(layout.RoleScheduler)] = inspecttest.Unit{State: "active", PID: 42}
		}
		h.Script = func(context.Context, machine.Command) (string, error) { return c.enabled, nil }
		done, err := (&cluster{}).stopServingDone(t.Context(), h, config.Machine{}, plan.Step{})
		if err != nil || done != c.want {
			t.Errorf("%s: got done %v, %v, want %v", name, done, err, c.want)
		}
	}
}
