package operation

import (
	"context"
	"encoding/base64"
	"slices"
	"sync"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// A boot asks each machine that is no Ready node of this cluster what it runs, and
// refuses if that is of another one.
func TestBootupAsksMachinesOutsideOfTheCluster(t *testing.T) {
	t.Parallel()
	s := testSession(t, runtest.Dir(t.TempDir()), nil)
	var asked sync.Map
	for _, name := range []string{"gpu-02", "gpu-03", "gpu-04"} {
		files := runtest.Dir(t.TempDir())
		kubeconfig := "clusters: [{name: c, cluster: {certificate-authority-data: " + base64.StdEncoding.EncodeToString([]byte("old")) + "}}]"
		if err := files.WriteFile(t.Context(), layout.KubeletConf, []byte(kubeconfig), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Hosts[name] = &sessiontest.Host{Hostname: name, Files: files, Answer: func(_ context.Context, c machine.Command) (machine.Output, error) {
			_, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report {
				asked.Store(name, true)
				return inspect.Report{Roles: map[plan.Role]inspect.Role{},
					Activity: &inspect.Activity{Containers: []inspect.Container{{ID: "c", Namespace: pai.VirtualClusterNamespacePrefix + "default", Pod: "train-0"}}}}
			})
			return machine.Output{}, err
		}}
	}
	in := plan.Input{World: plan.World{Machines: []plan.MachineState{
		{Name: "gpu-01", ControlPlane: true}, {Name: "gpu-02", Node: &plan.Node{Ready: true}}, {Name: "gpu-03", Node: &plan.Node{}}, {Name: "gpu-04"}}}}
	g := Bootup(s)
	s.Hosts["gpu-01"].(*sessiontest.Host).Answer = func(_ context.Context, c machine.Command) (machine.Output, error) {
		_, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report {
			return inspect.Report{Roles: map[plan.Role]inspect.Role{}, Activity: &inspect.Activity{}}
		})
		return machine.Output{}, err
	}
	if err := g.(gatherer).Gather(t.Context(), s, &in); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range in.Occupied {
		names = append(names, m.Name)
	}
	if _, ready := asked.Load("gpu-02"); !slices.Equal(names, []string{"gpu-03", "gpu-04"}) || ready {
		t.Errorf("got %v occupied, asked the Ready node %v; want those that are no Ready node", in.Occupied, ready)
	}
	if _, err := g.Plan(in); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v, want a refusal", err)
	}
	delete(s.Hosts, "gpu-01")
	if err := g.(gatherer).Gather(t.Context(), s, &in); err != nil {
		t.Errorf("got %v, want that the checks report an unreachable control-plane machine", err)
	}
}
