package cluster

import (
	"encoding/json"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func kindConfig(sku string) *config.Config {
	c := testConfig()
	c.Layout.MachineSKU = map[string]config.SKU{"a100": {GPU: &config.SKUGPU{Type: "A100", Count: 8}}, "cpu": {}}
	for i := range c.Layout.MachineList {
		if c.Layout.MachineList[i].Hostname == "pai-2" {
			c.Layout.MachineList[i].MachineType = sku
		}
	}
	return c
}

// A node gets the kind of its machine, another one, and none again; what others wrote
// stays, and a job that chose the machine keeps its kind.
func TestLabelsFollowTheLayout(t *testing.T) {
	t.Parallel()
	path := nodePath + "pai-2"
	api, connect := newFakeAPI(t, map[string]string{path: nodeJSON("pai-2", "v1.36.3", "True")})
	node := func() (n corev1.Node) {
		if err := json.Unmarshal([]byte(api.objects[path]), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	step := plan.Step{Kind: plan.KindLabels, Target: "pai-2"}
	for _, sku := range []string{"a100", "cpu", "", "a100"} {
		doStep(t, Deps{Kube: connect, Config: kindConfig(sku)}, step)
		n := node()
		label, labeled := n.Labels[pai.LabelMachineSKU]
		gpus := n.Annotations[pai.AnnotationMachineGPUs]
		if label != sku || labeled != (sku != "") || (gpus == "8") != (sku == "a100") || n.Status.NodeInfo.KubeletVersion != "v1.36.3" {
			t.Errorf("%q: got label %q and %q GPUs", sku, label, gpus)
		}
	}
	const pods = "/api/v1/namespaces/pai-vc-default/pods/"
	pod := func(phase, selector string) string {
		return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"pai-vc-default","labels":{%q:"train"}},"spec":{"nodeSelector":{%s}},"status":{"phase":%q}}`, pai.LabelJob, selector, phase)
	}
	const chose = `"pai.dev/machine-sku":"a100"`
	for _, c := range []struct {
		pod  string
		fits bool
	}{{pod("Running", chose), false}, {pod("Pending", chose), false}, {pod("Succeeded", chose), true}, {pod("Running", ""), true}} {
		api.objects[pods+"p"], api.objects[path] = c.pod, nodeJSON("pai-2", "v1.36.3", "True")
		doStep(t, Deps{Kube: connect, Config: kindConfig("a100")}, step) // adds it, whatever runs
		err := Doers(Deps{Kube: connect, Config: kindConfig("cpu")})[plan.KindLabels].Do(t.Context(), step)
		if (err == nil) != c.fits || (node().Labels[pai.LabelMachineSKU] == "cpu") != c.fits {
			t.Errorf("%s: got %v and labels %v", c.pod, err, node().Labels)
		}
	}
}

func TestNewNodesHaveTheirKind(t *testing.T) {
	t.Parallel()
	c := kindConfig("a100")
	m, _ := c.FindMachine("pai-2")
	n := nodeObject(m, KindOf(c, m))
	if n.GetLabels()[pai.LabelMachineSKU] != "a100" || n.GetAnnotations()[pai.AnnotationMachineGPUs] != "8" {
		t.Errorf("got %v", n)
	}
	m.MachineType = ""
	if n := nodeObject(m, KindOf(c, m)); len(n.GetLabels()) != 1 || n.GetAnnotations() != nil {
		t.Errorf("got %v for a machine without a kind", n)
	}
}
