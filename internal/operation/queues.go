package operation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/internal/service"
)

const (
	// queuesTimeout is the time for the step of Kueue to apply its objects, in which it can
	// wait for its webhooks.
	queuesTimeout = 5 * time.Minute
	queuesEvery   = 200 * time.Millisecond
)

// queues are the LocalQueues, in the version that Kueue of every release serves.
func queues() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "localqueues"}
}

// withQueues is what must exist before the REST server of a release: besides before, the
// virtual clusters as Kueue of that release has them. Their queues are applied last, after
// their namespaces, quotas, and priorities. On an upgrade, the step of Kueue runs beside that
// of the REST server; otherwise it is complete.
func (o *operation) withQueues(services pai.ServicesVersion, before func(context.Context, *kube.Client) error) func(context.Context, *kube.Client) error {
	names := slices.Sorted(maps.Keys(o.Config.Services.VirtualClusters))
	return func(ctx context.Context, client *kube.Client) error {
		wait := poll.Wait{For: "the queues of virtual clusters of " + string(services), Timeout: queuesTimeout, Every: queuesEvery, Max: time.Second}
		if behind, err := service.Behind(ctx, client, "kueue", services); err != nil {
			return err
		} else if !behind {
			return before(ctx, client)
		}
		err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
			list, err := client.Dynamic().Resource(queues()).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelVirtualCluster})
			if err != nil {
				return false, fmt.Errorf("list the queues: %w", err)
			}
			left := slices.Clone(names)
			for _, q := range list.Items {
				if !service.ReleaseOf(&q).Less(services) {
					left = slices.DeleteFunc(left, func(name string) bool { return q.GetNamespace() == pai.VirtualClusterNamespacePrefix+name })
				}
			}
			if len(left) > 0 {
				return false, fmt.Errorf("not there yet: %s", strings.Join(left, ", "))
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		return before(ctx, client)
	}
}
