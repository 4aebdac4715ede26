package cluster

import (
	"testing"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/policytest"
)

// The user that network programs of v0.10 share changes only nodes that have such a
// program, so root on one machine cannot redirect the packets of others. An upgrade and a
// rollback, in which the kubelet goes before the network program, can do their steps.
func TestSharedNetworkUserIsForOlderMachines(t *testing.T) {
	t.Parallel()
	const flannel, added = "flannel.alpha.coreos.com/public-ip", "pai.dev/addresses"
	own := layout.NetworkUser + ":pai-2"
	node := func(kubelet string, annotations ...string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": "pai-2"}}}
		if kubelet != "" {
			o.Object["status"] = map[string]any{"nodeInfo": map[string]any{"kubeletVersion": kubelet}}
		}
		of := map[string]string{}
		for _, a := range annotations {
			of[a] = "10.9.0.12"
		}
		o.SetAnnotations(of)
		return o
	}
	for _, c := range []struct {
		name, user string
		before     *unstructured.Unstructured
		ok         bool
	}{
		{"a machine of v0.9", layout.NetworkUser, node("v1.35.4", flannel), true},
		{"a machine of v0.10", layout.NetworkUser, node("v1.36.3", flannel), true},
		{"the boot of a machine of v0.10", layout.NetworkUser, node("v1.36.3"), true},
		{"an upgrade that has replaced the kubelet only", layout.NetworkUser, node("v1.37.2", flannel), true},
		{"a rollback that has replaced the kubelet only", own, node("v1.36.3", flannel, added), true},
		{"a rollback that has replaced both", layout.NetworkUser, node("v1.36.3", flannel, added), true},
		{"a machine of v0.11", layout.NetworkUser, node("v1.37.2", flannel, added), false},
		{"its own user", own, node("v1.37.2", flannel, added), true},
		{"the boot of a machine of v0.11", layout.NetworkUser, node("v1.37.2"), false},
		{"a later version", layout.NetworkUser, node("v1.100.0", flannel, added), false},
		{"another major version", layout.NetworkUser, node("v2.1.0", flannel, added), false},
		{"an unknown version", layout.NetworkUser, node("", added), false},
		{"no version", layout.NetworkUser, node("v1.x.3", added), false},
		{"the user of another machine", layout.NetworkUser + ":pai-1", node("v1.36.3", flannel), false},
	} {
		after := c.before.DeepCopy()
		annotations := after.GetAnnotations()
		annotations[flannel] = "10.9.0.13"
		after.SetAnnotations(annotations)
		if got := allows(t, c.user, c.before, after); got != c.ok {
			t.Errorf("%s, by %s: got allowed %v, want %v", c.name, c.user, got, c.ok)
		}
	}
	// The version is not what the same write makes of it.
	older := node("v1.36.3", flannel, added)
	for user, before := range map[string]*unstructured.Unstructured{layout.NetworkUser: node("v1.37.2", flannel, added), own: node("v1.37.2", flannel, added)} {
		if allows(t, user, before, older) {
			t.Errorf("%s changes the version of a kubelet", user)
		}
	}
}

// networkPolicy is the policy for network programs, as a cluster gets it.
func networkPolicy(t *testing.T) admissionregistration.ValidatingAdmissionPolicy {
	t.Helper()
	objects, err := renderManifest("manifests/bootstrap.yaml", bootstrapValues([]string{"pai-1", "pai-2"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() == "ValidatingAdmissionPolicy" && o.GetName() == "pai-network" {
			var p admissionregistration.ValidatingAdmissionPolicy
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatal("no policy for network programs")
	return admissionregistration.ValidatingAdmissionPolicy{}
}

// allows asks the policy for network programs about a write of the status of a node.
func allows(t *testing.T, account string, before, after *unstructured.Unstructured) bool {
	t.Helper()
	return policytest.Refusal(t, networkPolicy(t), policytest.Write{Account: account, Resource: "nodes", Subresource: "status", Old: before, New: after}) == ""
}
