package kube

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The groups that the API server itself serves; every other group comes from
// a custom resource definition or an aggregated server.
var builtinGroups = map[string]bool{
	"": true, "admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true,
	"apps": true, "authentication.k8s.io": true, "authorization.k8s.io": true, "autoscaling": true, "batch": true,
	"certificates.k8s.io": true, "coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "networking.k8s.io": true,
	"node.k8s.io": true, "policy": true, "rbac.authorization.k8s.io": true, "resource.k8s.io": true,
	"scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

const (
	definitionKind  = "CustomResourceDefinition"
	customResources = 9 // the last stage
)

// stage is when an object is applied: what others need comes first. Custom
// resources come last, when the webhooks that check them exist.
func stage(r Ref) int {
	switch r.Kind {
	case definitionKind:
		return 0
	case "Namespace":
		return 1
	case "PriorityClass", "ResourceQuota", "LimitRange", "RuntimeClass", "StorageClass", "PriorityLevelConfiguration":
		return 2
	case "ServiceAccount", "Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim":
		return 3
	case "ClusterRole", "Role":
		return 4
	case "ClusterRoleBinding", "RoleBinding":
		return 5
	case "Service", "Endpoints", "EndpointSlice":
		return 6
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService":
		return 8
	}
	if builtinGroups[r.Group] {
		return 7
	}
	return customResources
}

// inOrder sorts objects by the stage they are applied in; within a stage the
// order given stays.
func inOrder(objs []*unstructured.Unstructured) []*unstructured.Unstructured {
	sorted := slices.Clone(objs)
	slices.SortStableFunc(sorted, func(a, b *unstructured.Unstructured) int {
		return stage(RefOf(a)) - stage(RefOf(b))
	})
	return sorted
}

// deletionStage is when an object is deleted. A webhook goes before the
// program that answers it, so that nothing is refused for want of an answer;
// otherwise deletion is application backwards.
func deletionStage(r Ref) int {
	switch r.Kind {
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService":
		return 1
	}
	if stage(r) == customResources {
		return 0 // while the controllers that end them still run
	}
	return 20 - stage(r)
}

// deletionPart divides a deletion where one part must be gone before the next.
func deletionPart(r Ref) int {
	switch {
	case stage(r) == customResources:
		return 0
	case r.Kind == definitionKind:
		return 2
	default:
		return 1
	}
}

func inDeletionOrder(refs []Ref) []Ref {
	sorted := slices.Clone(refs)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b Ref) int { return deletionStage(a) - deletionStage(b) })
	return sorted
}

// neverPruned are the kinds that an application which no longer names them
// leaves where they are: a definition takes every stored object with it, a
// namespace everything in it, a volume its data.
func neverPruned(r Ref) bool {
	switch r.Kind {
	case definitionKind, "Namespace", "PersistentVolumeClaim", "PersistentVolume":
		return true
	}
	return false
}
