package observe

import (
	"context"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// Jobs reads all jobs that have pods in the cluster, with all their pods.
func Jobs(ctx context.Context, client *kube.Client) ([]pai.Job, error) {
	return running.Jobs(ctx, client.Clientset(), client.Dynamic())
}
