package plugin_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"pai.dev/pai/internal/gpu/plugin"
)

const limit = 30 * time.Second

// kubelet is the side of the protocol that a kubelet has.
type kubelet struct {
	api.UnimplementedRegistrationServer
	dir        string
	server     *grpc.Server
	registered chan *api.RegisterRequest
}

func startKubelet(t *testing.T, dir string) *kubelet {
	t.Helper()
	k := &kubelet{dir: dir, server: grpc.NewServer(), registered: make(chan *api.RegisterRequest, 8)}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names { // as a kubelet does when it starts
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // the plugin before can remove it, too
			t.Fatal(err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	api.RegisterRegistrationServer(k.server, k)
	go k.server.Serve(listener)
	t.Cleanup(k.server.Stop)
	return k
}

func (k *kubelet) Register(_ context.Context, r *api.RegisterRequest) (*api.Empty, error) {
	k.registered <- r
	return &api.Empty{}, nil
}

// client waits for a plugin to register and connects to it.
func (k *kubelet) client(t *testing.T) (api.DevicePluginClient, string) {
	t.Helper()
	select {
	case r := <-k.registered:
		if r.GetResourceName() != "nvidia.com/gpu" || r.GetVersion() != "v1beta1" || !r.GetOptions().GetGetPreferredAllocationAvailable() {
			t.Fatalf("got registration %v", r)
		}
		conn, err := grpc.NewClient("unix://"+filepath.Join(k.dir, r.GetEndpoint()), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return api.NewDevicePluginClient(conn), r.GetEndpoint()
	case <-time.After(limit):
		t.Fatal("no plugin registered")
		return nil, ""
	}
}

// run offers devices from a directory until the test ends.
func run(t *testing.T, dir string) *plugin.Plugin {
	t.Helper()
	p := plugin.New()
	p.Set([]plugin.Device{{ID: "GPU-a", Healthy: true, NUMA: 1}, {ID: "GPU-b", Healthy: true, NUMA: -1}})
	r := plugin.Registration{Plugin: p, Dir: dir, Socket: "pai-gpu-1.sock", Registered: func(bool) {}, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p
}

// listed is what the plugin sends next, as "ID health".
func listed(t *testing.T, stream api.DevicePlugin_ListAndWatchClient) []string {
	t.Helper()
	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range r.GetDevices() {
		found = append(found, d.GetID()+" "+d.GetHealth())
	}
	return found
}

func TestDevicesAreOfferedAndTheirHealthFollows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := startKubelet(t, dir)
	p := run(t, dir)
	client, _ := k.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	stream, err := client.ListAndWatch(ctx, &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if d := first.GetDevices(); len(d) != 2 || d[0].GetTopology().GetNodes()[0].GetID() != 1 || d[1].GetTopology() != nil {
		t.Errorf("got %v, want two GPUs, the first near NUMA node 1", d)
	}
	p.Set([]plugin.Device{{ID: "GPU-a", Healthy: false, NUMA: 1}, {ID: "GPU-b", Healthy: true, NUMA: -1}})
	if got, want := listed(t, stream), []string{"GPU-a Unhealthy", "GPU-b Healthy"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAllocationNamesTheDevices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := startKubelet(t, dir)
	run(t, dir)
	client, _ := k.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	answer, err := client.Allocate(ctx, &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: []string{"GPU-b", "GPU-a"}}, {DevicesIds: []string{"GPU-a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range answer.GetContainerResponses() {
		for _, d := range c.GetCdiDevices() {
			names = append(names, d.GetName())
		}
	}
	if want := []string{"nvidia.com/gpu=GPU-b", "nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-a"}; !slices.Equal(names, want) || len(answer.GetContainerResponses()) != 2 {
		t.Errorf("got %q, want %q for two containers", names, want)
	}
	if _, err := client.Allocate(ctx, &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: []string{"GPU-z"}}}}); status.Code(err) != codes.NotFound {
		t.Errorf("got %v for an unknown GPU, want that it is not found", err)
	}
	preferred, err := client.GetPreferredAllocation(ctx, &api.PreferredAllocationRequest{ContainerRequests: []*api.ContainerPreferredAllocationRequest{{AvailableDeviceIDs: []string{"GPU-b", "GPU-a"}, AllocationSize: 1}}})
	if err != nil || len(preferred.GetContainerResponses()) != 1 || len(preferred.GetContainerResponses()[0].GetDeviceIDs()) != 1 {
		t.Errorf("got preferred %v, error %v", preferred, err)
	}
}

func TestPluginRegistersWithEachKubelet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, dir) // before the first kubelet
	k := startKubelet(t, dir)
	client, socket := k.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	stream, err := client.ListAndWatch(ctx, &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if got := listed(t, stream); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	k.server.Stop()
	k = startKubelet(t, dir)
	client, again := k.client(t)
	if again != socket {
		t.Errorf("got socket %s after %s", again, socket)
	}
	if stream, err = client.ListAndWatch(ctx, &api.Empty{}); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, stream); len(got) != 2 {
		t.Errorf("got %q after the kubelet started again", got)
	}
}
