package check

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/kube"
)

// apiClient is the client that checks read with; *kube.Client implements it.
type apiClient interface {
	Clientset() kubernetes.Interface
	Dynamic() dynamic.Interface
}

// apiFacts are observations of the control plane.
type apiFacts struct {
	client      *memo[*kube.Client]
	clusterID   *memo[string]
	nodes       *memo[[]corev1.Node]
	etcd        *memo[etcd.Overview]
	definitions *memo[map[string]apiextensions.CustomResourceDefinition]
}

func newAPIFacts(run context.Context, in Input) apiFacts {
	client := observe(run, func(ctx context.Context) (*kube.Client, error) {
		if !in.World.APIReachable {
			return nil, fmt.Errorf("the API is unavailable: %s", in.World.APIError)
		}
		return in.Kube(ctx)
	})
	return apiFacts{
		client:      client,
		clusterID:   fromAPI(run, client, readClusterID),
		nodes:       fromAPI(run, client, readNodes),
		etcd:        observe(run, func(ctx context.Context) (etcd.Overview, error) { return readEtcd(ctx, in) }),
		definitions: fromAPI(run, client, readDefinitions),
	}
}

// fromAPI is an observation through the API.
func fromAPI[T any](run context.Context, client *memo[*kube.Client], read func(context.Context, apiClient) (T, error)) *memo[T] {
	return observe(run, func(ctx context.Context) (value T, err error) {
		c, err := client.get(ctx)
		if err != nil {
			return value, err
		}
		return read(ctx, c)
	})
}

func readNodes(ctx context.Context, c apiClient) ([]corev1.Node, error) {
	list, err := c.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	return list.Items, nil
}

// readDefinitions returns the custom resource definitions of the cluster by name.
func readDefinitions(ctx context.Context, c apiClient) (map[string]apiextensions.CustomResourceDefinition, error) {
	list, err := c.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the custom resource definitions: %w", err)
	}
	all := map[string]apiextensions.CustomResourceDefinition{}
	for _, item := range list.Items {
		var d apiextensions.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &d); err != nil {
			return nil, fmt.Errorf("read the definition %s: %w", item.GetName(), err)
		}
		all[d.Name] = d
	}
	return all, nil
}
