package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

const requestPath = "/apis/certificates.k8s.io/v1/certificatesigningrequests/"

func requestBy(name, username string) string {
	return fmt.Sprintf(`{"kind":"CertificateSigningRequest","apiVersion":"certificates.k8s.io/v1","metadata":{"name":%q},"spec":{"username":%q}}`, name, username)
}

// What the cluster has of a machine is removed, and nothing of another machine.
func TestRemoveNode(t *testing.T) {
	t.Parallel()
	c, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	kept := map[string]string{nodePath + "pai-1": maintenanceNode("pai-1", "", ""), requestPath + "b": requestBy("b", "system:node:pai-20"), requestPath + "c": requestBy("c", "admin")}
	for path, object := range kept {
		api.objects[path] = object
	}
	api.objects[requestPath+"a"] = requestBy("a", "system:node:pai-2")
	c.hosts["pai-1"].Write(layout.MaintenanceFile, `{"machines":{"pai-2":{"operation":"op-1"},"pai-3":{"operation":"op-2"}}}`)
	doStep(t, c.deps, maintenanceStep(plan.KindRemoveNode))
	if len(api.objects) != len(kept) {
		t.Errorf("got %d objects, want %d: %v", len(api.objects), len(kept), api.objects)
	}
	for path := range kept {
		if api.objects[path] == "" {
			t.Errorf("%s was deleted", path)
		}
	}
	if all, err := Maintained(t.Context(), c.deps.Hosts["pai-1"]); err != nil || len(all) != 1 || all["pai-3"].Operation != "op-2" {
		t.Errorf("got the records %v, %v, want that of pai-3", all, err)
	}
}

// A removal can be killed between any two of its changes, and continues. The record is the last
// that goes.
func TestRemoveNodeContinues(t *testing.T) {
	t.Parallel()
	for _, left := range []string{"node", "request", "record"} {
		c, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
		if left != "node" {
			delete(api.objects, nodePath+"pai-2")
		}
		if left == "request" {
			api.objects[requestPath+"a"] = requestBy("a", "system:node:pai-2")
		}
		if left == "record" {
			c.hosts["pai-1"].Write(layout.MaintenanceFile, `{"machines":{"pai-2":{}}}`)
		}
		doStep(t, c.deps, maintenanceStep(plan.KindRemoveNode))
	}
	c, _, state := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	c.hosts["pai-1"].Write(layout.MaintenanceFile, `{"machines":{"pai-2":{}}}`)
	down := errors.New("no API")
	c.deps.Kube = func(context.Context) (*kube.Client, error) { return nil, down }
	if err := Doers(c.deps)[plan.KindRemoveNode].Do(t.Context(), maintenanceStep(plan.KindRemoveNode)); !errors.Is(err, down) {
		t.Errorf("got %v, want the error of the API", err)
	}
	if _, all := state(); len(all) != 1 {
		t.Errorf("got the records %v, want the one of the machine whose node is left", all)
	}
}

// After the layout changed, CoreDNS does not wait for the machine, and does not count it.
func TestDNSWithoutAMachineThatLeft(t *testing.T) {
	t.Parallel()
	c, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	api.objects[coreDNSPath] = coreDNS(2)
	step := maintenanceStep(plan.KindDNSBack)
	step.To = "v0.10-pai"
	replicas := func() string {
		t.Helper()
		objects, _, err := Doers(c.deps)[plan.KindDNSBack].(maintenanceDNS).objects(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if o.GetKind() == "Deployment" {
				return fmt.Sprint(o.Object["spec"].(map[string]any)["replicas"])
			}
		}
		return "none"
	}
	before := replicas()
	list := &c.deps.Config.Layout.MachineList
	*list = slices.DeleteFunc(slices.Clone(*list), func(m config.Machine) bool { return m.Hostname == "pai-2" })
	if got := replicas(); before != "2" || got != "1" {
		t.Errorf("got %s replicas, and %s without the machine, want 2 and 1", before, got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := Doers(c.deps)[plan.KindDNSBack].Do(ctx, step); err != nil && strings.Contains(err.Error(), "pai-2") {
		t.Errorf("got %v, want no wait for a node that left", err)
	}
}
