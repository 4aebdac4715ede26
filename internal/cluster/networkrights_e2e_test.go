//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/kubetest"
)

// The network program of a machine can publish how its machine is reached, and change
// nothing else, also not of another machine. One of v0.10 keeps running on its machine, and
// what it shares with others changes no machine of v0.11.
func TestNetworkProgramChangesOnlyItsNode(t *testing.T) {
	t.Parallel()
	api := kubetest.Start(t)
	cfg := testConfig()
	objects, err := (&cluster{Deps: Deps{Config: cfg}}).bootstrapObjects(cfg.ControlPlane())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cfg.Layout.MachineList {
		objects = append(objects, nodeObject(m, plan.MachineKind{}))
	}
	if _, err := api.Client.Apply(t.Context(), objects, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	for node, kubelet := range map[string]string{"pai-1": "v1.36.3", "pai-2": "v1.37.2"} {
		status := fmt.Sprintf(`{"status":{"nodeInfo":{"kubeletVersion":%q}}}`, kubelet)
		if _, err := api.Client.Clientset().CoreV1().Nodes().Patch(t.Context(), node, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(user, node, change string) error {
		as := clientrest.CopyConfig(api.Config)
		as.Impersonate = clientrest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		client, err := kubernetes.NewForConfig(as)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CoreV1().Nodes().Patch(t.Context(), node, types.StrategicMergePatchType, []byte(change), metav1.PatchOptions{}, "status")
		return err
	}
	const own = "pai:network:pai-2"
	capacity := `{"status":{"capacity":{"cpu":"%d"}}}`
	cpus := 0
	effect := poll.Wait{For: "an effect of the policy", Timeout: time.Minute, Every: 100 * time.Millisecond}
	if err := effect.Until(t.Context(), func(context.Context) (bool, error) {
		cpus++
		err := patch(own, "pai-2", fmt.Sprintf(capacity, cpus))
		return err != nil && strings.Contains(err.Error(), "pai-network"), nil
	}); err != nil {
		t.Fatal(err)
	}
	flannel := `{"metadata":{"annotations":{"flannel.alpha.coreos.com/public-ip":"10.9.0.12"}}}`
	for _, c := range []struct {
		name, user, node, change string
		ok                       bool
	}{
		{"a machine of v0.11 by the user of v0.10, at its boot", layout.NetworkUser, "pai-2", flannel, false},
		{"its annotations", own, "pai-2", flannel, true},
		{"whether the network is there", own, "pai-2", `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False","reason":"FlannelIsUp"}]}}`, true},
		{"the addresses of its machine", own, "pai-2", `{"metadata":{"annotations":{"pai.dev/addresses":"10.9.0.12,10.8.0.12"}}}`, true},
		{"the addresses of another machine", own, "pai-1", `{"metadata":{"annotations":{"pai.dev/addresses":"10.9.0.12"}}}`, false},
		{"a program of v0.10", layout.NetworkUser, "pai-1", flannel, true},
		{"a machine of v0.11 by the user of v0.10", layout.NetworkUser, "pai-2", flannel, false},
		{"the version of its kubelet", own, "pai-2", `{"status":{"nodeInfo":{"kubeletVersion":"v1.36.3"}}}`, false},
		{"another node", own, "pai-1", flannel, false},
		{"the name of no machine", "pai:network:pai-9", "pai-2", flannel, false},
		{"another annotation", own, "pai-2", `{"metadata":{"annotations":{"pai.dev/cordoned":"x"}}}`, false},
		{"a label", own, "pai-2", `{"metadata":{"labels":{"a":"b"}}}`, false},
		{"readiness", own, "pai-2", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, false},
		{"allocatable", own, "pai-2", `{"status":{"allocatable":{"cpu":"99"}}}`, false},
		{"address", own, "pai-2", `{"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.1"}]}}`, false},
		{"readiness by a program of v0.10", layout.NetworkUser, "pai-1", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, false},
	} {
		if err := patch(c.user, c.node, c.change); (err == nil) != c.ok {
			t.Errorf("%s: got %v, want allowed %v", c.name, err, c.ok)
		}
	}
}
