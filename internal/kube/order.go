package kube

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// builtin has the kinds of client-go, without those that other packages add to
// its scheme.
var builtin = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(s))
	return s
})

// isBuiltin reports whether the API server itself serves a group. Every other
// group comes from a custom resource definition or an aggregated server.
func isBuiltin(group string) bool {
	return builtin().IsGroupRegistered(group) || group == "apiextensions.k8s.io" || group == "apiregistration.k8s.io"
}

const (
	definitionKind  = "CustomResourceDefinition"
	customResources = 9 // the last stage
)

// stage orders the application: dependencies first. Custom resources come last,
// after the webhooks that check them.
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
	if isBuiltin(r.Group) {
		return 7
	}
	return customResources
}

// appliesAtOnce is how many objects of a stage are applied at the same time. Definitions are
// large, and the API server takes long for each. Up to the bindings, no object of a stage needs
// another one; later ones are applied in their order.
func appliesAtOnce(stage int) int {
	if stage <= 5 {
		return 4
	}
	return 1
}

// inOrder sorts objects by stage and keeps their order within a stage.
func inOrder(objs []*unstructured.Unstructured) []*unstructured.Unstructured {
	sorted := slices.Clone(objs)
	slices.SortStableFunc(sorted, func(a, b *unstructured.Unstructured) int {
		return stage(RefOf(a)) - stage(RefOf(b))
	})
	return sorted
}

// deletionStage orders the deletion: the reverse of the application, except that
// webhooks come before their programs, so that a webhook without a program
// refuses nothing.
func deletionStage(r Ref) int {
	switch r.Kind {
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService":
		return 1
	}
	if stage(r) == customResources {
		return 0 // while their controllers still run
	}
	return 20 - stage(r)
}

// deletionPart groups a deletion: each part ends before the next one starts.
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

// neverPruned reports kinds whose deletion would also delete other objects or
// data: definitions, namespaces, and volumes.
func neverPruned(r Ref) bool {
	return slices.Contains([]string{definitionKind, "Namespace", "PersistentVolumeClaim", "PersistentVolume"}, r.Kind)
}
