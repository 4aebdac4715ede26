package service

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/kube"
)

// clusterKinds are the cluster-scoped kinds: the ones of Kubernetes that charts
// use, and the ones that objs define.
func clusterKinds(objs []*unstructured.Unstructured) map[schema.GroupKind]bool {
	kinds := map[schema.GroupKind]bool{
		{Group: "", Kind: "Namespace"}:                                                    true,
		{Group: "", Kind: "PersistentVolume"}:                                             true,
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:                 true,
		{Group: "apiregistration.k8s.io", Kind: "APIService"}:                             true,
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:                         true,
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:                  true,
		{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     true,
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   true,
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:        true,
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: true,
		{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:                               true,
		{Group: "storage.k8s.io", Kind: "StorageClass"}:                                   true,
		{Group: "storage.k8s.io", Kind: "CSIDriver"}:                                      true,
		{Group: "node.k8s.io", Kind: "RuntimeClass"}:                                      true,
		{Group: "networking.k8s.io", Kind: "IngressClass"}:                                true,
		{Group: "flowcontrol.apiserver.k8s.io", Kind: "FlowSchema"}:                       true,
		{Group: "flowcontrol.apiserver.k8s.io", Kind: "PriorityLevelConfiguration"}:       true,
		{Group: "resource.k8s.io", Kind: "DeviceClass"}:                                   true,
	}
	for _, obj := range objs {
		if obj.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
		kinds[schema.GroupKind{Group: group, Kind: kind}] = scope == "Cluster"
	}
	return kinds
}

// checkObjects finds what would otherwise fail at run time: images that are not
// in the bundle or would be pulled, and duplicate objects.
func checkObjects(objs []*unstructured.Unstructured, s Service, src Source) []error {
	var problems []error
	allowed := map[string]bool{}
	for _, name := range s.Images {
		ref := src.Image(name)
		if ref == "" {
			problems = append(problems, fmt.Errorf("images: release %s has no image %q", src.Manifest().Metadata.Name, name))
		}
		allowed[ref] = true
	}
	seen := map[kube.Ref]bool{}
	for _, obj := range objs {
		r := kube.RefOf(obj)
		if seen[r] {
			problems = append(problems, fmt.Errorf("duplicate object %s", r))
		}
		seen[r] = true
		for _, c := range containers(obj) {
			name, image, policy := c["name"], fmt.Sprint(c["image"]), c["imagePullPolicy"]
			if !allowed[image] {
				problems = append(problems, fmt.Errorf("%s: container %v uses %s, which is not an image of the service", r, name, image))
			}
			if policy != "Never" {
				problems = append(problems, fmt.Errorf("%s: container %v has imagePullPolicy %v, not Never", r, name, policy))
			}
		}
	}
	return problems
}

// containers lists the containers of an object's pods.
func containers(obj *unstructured.Unstructured) []map[string]any {
	var out []map[string]any
	for _, where := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}, {"spec"}} {
		for _, field := range []string{"initContainers", "containers"} {
			list, _, err := unstructured.NestedSlice(obj.Object, append(where, field)...)
			if err != nil {
				continue // another field of the same name
			}
			for _, c := range list {
				if container, ok := c.(map[string]any); ok {
					out = append(out, container)
				}
			}
		}
	}
	return out
}
