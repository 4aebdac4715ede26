// Package plugin offers GPUs to the kubelet, as its device plugin protocol says. The
// kubelet decides which container gets which GPU and stores that; an answer only names
// the GPU to the container runtime.
package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"pai.dev/pai/internal/gpu/cdispec"
)

// A Device is a GPU as the kubelet sees it.
type Device struct {
	ID      string // the UUID
	Healthy bool
	NUMA    int // the memory that is near; negative if it is unknown
}

// Plugin is the server. It is ready when Set was called first.
type Plugin struct {
	api.UnimplementedDevicePluginServer

	mu      sync.Mutex
	devices []Device
	changed chan struct{} // closed by the next Set
}

// New returns a plugin that offers nothing yet.
func New() *Plugin { return &Plugin{changed: make(chan struct{})} }

// Set changes what is offered, and has the kubelet notice.
func (p *Plugin) Set(devices []Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.devices, devices) {
		return
	}
	p.devices = slices.Clone(devices)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Plugin) current() ([]Device, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.devices, p.changed
}

// GetDevicePluginOptions says that the kubelet can ask which GPUs belong together.
func (p *Plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{GetPreferredAllocationAvailable: true}, nil
}

// ListAndWatch sends the GPUs, and again after each change.
func (p *Plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	for {
		devices, changed := p.current()
		if err := stream.Send(listed(devices)); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func listed(devices []Device) *api.ListAndWatchResponse {
	r := &api.ListAndWatchResponse{}
	for _, d := range devices {
		device := &api.Device{ID: d.ID, Health: api.Unhealthy}
		if d.Healthy {
			device.Health = api.Healthy
		}
		if d.NUMA >= 0 {
			device.Topology = &api.TopologyInfo{Nodes: []*api.NUMANode{{ID: int64(d.NUMA)}}}
		}
		r.Devices = append(r.Devices, device)
	}
	return r
}

// Allocate names GPUs to the container runtime. A GPU that is not offered is refused: a
// container that got none would run on the CPU, or fail later.
func (p *Plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	devices, _ := p.current()
	answer := &api.AllocateResponse{}
	for _, container := range request.GetContainerRequests() {
		one := &api.ContainerAllocateResponse{}
		for _, id := range container.GetDevicesIds() {
			if !slices.ContainsFunc(devices, func(d Device) bool { return d.ID == id }) {
				return nil, status.Error(codes.NotFound, fmt.Sprintf("GPU %q not found on this machine", id))
			}
			one.CdiDevices = append(one.CdiDevices, &api.CDIDevice{Name: cdispec.Name(id)})
		}
		answer.ContainerResponses = append(answer.ContainerResponses, one)
	}
	return answer, nil
}

// PreStartContainer does nothing. The kubelet does not call it.
func (p *Plugin) PreStartContainer(context.Context, *api.PreStartContainerRequest) (*api.PreStartContainerResponse, error) {
	return &api.PreStartContainerResponse{}, nil
}

// GetPreferredAllocation keeps the GPUs of a container together.
func (p *Plugin) GetPreferredAllocation(_ context.Context, request *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	devices, _ := p.current()
	answer := &api.PreferredAllocationResponse{}
	for _, c := range request.GetContainerRequests() {
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerPreferredAllocationResponse{
			DeviceIDs: preferred(devices, c.GetAvailableDeviceIDs(), c.GetMustIncludeDeviceIDs(), int(c.GetAllocationSize())),
		})
	}
	return answer, nil
}
