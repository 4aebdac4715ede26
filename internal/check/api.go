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

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// apiClient is what is read from; *kube.Client is one.
type apiClient interface {
	Clientset() kubernetes.Interface
	Dynamic() dynamic.Interface
}

// apiFacts is what the control plane says, each asked for once.
type apiFacts struct {
	client      *memo[*kube.Client]
	clusterID   *memo[string]
	nodes       *memo[[]corev1.Node]
	etcd        *memo[cluster.EtcdStatus]
	definitions *memo[map[string]apiextensions.CustomResourceDefinition]
}

func newAPIFacts(run context.Context, in Input) apiFacts {
	a := apiFacts{client: observe(run, func(ctx context.Context) (*kube.Client, error) {
		if !in.World.APIReachable {
			return nil, fmt.Errorf("the API does not answer: %s", orNothing(in.World.APIError))
		}
		return in.Kube(ctx)
	})}
	a.clusterID = ask(run, a, func(ctx context.Context, c apiClient) (string, error) { return readClusterID(ctx, c) })
	a.nodes = ask(run, a, func(ctx context.Context, c apiClient) ([]corev1.Node, error) {
		list, err := c.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list the nodes: %w", err)
		}
		return list.Items, nil
	})
	a.definitions = ask(run, a, readDefinitions)
	a.etcd = observe(run, func(ctx context.Context) (cluster.EtcdStatus, error) { return readEtcd(ctx, in) })
	return a
}

// ask is an observation through the API.
func ask[T any](run context.Context, a apiFacts, read func(context.Context, apiClient) (T, error)) *memo[T] {
	return observe(run, func(ctx context.Context) (T, error) {
		client, err := a.client.get(ctx)
		if err != nil {
			var none T
			return none, err
		}
		return read(ctx, client)
	})
}

// readDefinitions reads the cluster's definitions of custom resources, by name.
func readDefinitions(ctx context.Context, c apiClient) (map[string]apiextensions.CustomResourceDefinition, error) {
	list, err := c.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the definitions of custom resources: %w", err)
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

// etcdRole is the slot that etcd runs in; of two that hand over, the newer.
func etcdRole(m plan.MachineState) (plan.Role, bool) {
	a, b := m.Roles[plan.RoleEtcdA].Running, m.Roles[plan.RoleEtcdB].Running
	switch {
	case a == "" && b == "":
		return "", false
	case a.Less(b):
		return plan.RoleEtcdB, true
	default:
		return plan.RoleEtcdA, true
	}
}

func readEtcd(ctx context.Context, in Input) (cluster.EtcdStatus, error) {
	master := in.Config.ControlPlane().Hostname
	for _, m := range in.World.Machines {
		if m.Name != master {
			continue
		}
		role, runs := etcdRole(m)
		if !runs {
			return cluster.EtcdStatus{}, fmt.Errorf("no etcd runs on %s", master)
		}
		return cluster.ReadEtcd(ctx, in.Hosts[master], role)
	}
	return cluster.EtcdStatus{}, fmt.Errorf("%s was not looked at", master)
}
