// Package holders asks the kubelet which container has which GPU.
package holders

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"

	"pai.dev/pai/internal/gpu"
)

const timeout = 5 * time.Second

// maxAnswer limits the answer of the kubelet, which has every container.
const maxAnswer = 16 << 20

// A Holder is a container that has a GPU.
type Holder struct{ Namespace, Pod, Container string }

// List asks the kubelet at a socket for the holder of each GPU, by UUID.
func List(ctx context.Context, socket string) (map[string]Holder, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet who has a GPU: %w", err)
	}
	defer conn.Close()
	answer, err := api.NewPodResourcesListerClient(conn).List(ctx, &api.ListPodResourcesRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet who has a GPU: %w", err)
	}
	found := map[string]Holder{}
	for _, pod := range answer.GetPodResources() {
		for _, container := range pod.GetContainers() {
			for _, devices := range container.GetDevices() {
				if devices.GetResourceName() != gpu.Resource {
					continue
				}
				for _, id := range devices.GetDeviceIds() {
					found[id] = Holder{pod.GetNamespace(), pod.GetName(), container.GetName()}
				}
			}
		}
	}
	return found, nil
}
