// Command deviceplugin offers devices that do not exist, for tests: it speaks
// kubelet's device plugin protocol as a vendor's plugin does, and registers
// again whenever kubelet was restarted. With -list it prints instead which
// container holds which of the devices, as kubelet says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	plugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const (
	podResourcesSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"
	lookEvery          = 200 * time.Millisecond // at kubelet's socket
	callTimeout        = 10 * time.Second
)

func main() {
	resource := flag.String("resource", "nvidia.com/gpu", "name of the resource")
	count := flag.Int("count", 2, "how many devices there are")
	list := flag.Bool("list", false, "print who holds which device, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *list {
		err = printHolders(ctx, *resource)
	} else {
		err = devices{resource: *resource, count: *count}.run(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "deviceplugin:", err)
		os.Exit(1)
	}
}

// devices is the plugin.
type devices struct {
	plugin.UnimplementedDevicePluginServer
	resource string
	count    int
}

func (d devices) socket() string {
	return filepath.Join(plugin.DevicePluginPath, strings.ReplaceAll(d.resource, "/", "_")+".sock")
}

// run serves and registers, again for each kubelet: one that starts removes the
// sockets of all plugins.
func (d devices) run(ctx context.Context) error {
	for ctx.Err() == nil {
		kubelet, err := os.Stat(plugin.KubeletSocket)
		if err != nil {
			pause(ctx)
			continue
		}
		server, err := d.serve(ctx)
		if err != nil {
			return err
		}
		if err := d.register(ctx); err != nil {
			fmt.Println("not registered:", err)
			server.Stop()
			pause(ctx)
			continue
		}
		fmt.Println("registered", d.count, d.resource)
		for ctx.Err() == nil && d.sameKubelet(kubelet) {
			pause(ctx)
		}
		server.Stop()
	}
	return ctx.Err()
}

func (d devices) sameKubelet(socket fs.FileInfo) bool {
	now, err := os.Stat(plugin.KubeletSocket)
	if err != nil || !os.SameFile(now, socket) || !now.ModTime().Equal(socket.ModTime()) {
		return false
	}
	_, err = os.Stat(d.socket())
	return err == nil
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(lookEvery):
	}
}

func (d devices) serve(ctx context.Context) (*grpc.Server, error) {
	if err := os.Remove(d.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", d.socket())
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	plugin.RegisterDevicePluginServer(server, d)
	go func() {
		if err := server.Serve(listener); err != nil {
			fmt.Println("serve:", err)
		}
	}()
	return server, nil
}

func (d devices) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := dial(plugin.KubeletSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = plugin.NewRegistrationClient(conn).Register(ctx, &plugin.RegisterRequest{
		Version: plugin.Version, Endpoint: filepath.Base(d.socket()), ResourceName: d.resource,
	})
	return err
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (d devices) GetDevicePluginOptions(context.Context, *plugin.Empty) (*plugin.DevicePluginOptions, error) {
	return &plugin.DevicePluginOptions{}, nil
}

// ListAndWatch says once that all devices are well, and stays.
func (d devices) ListAndWatch(_ *plugin.Empty, stream plugin.DevicePlugin_ListAndWatchServer) error {
	var all []*plugin.Device
	for i := range d.count {
		all = append(all, &plugin.Device{ID: fmt.Sprintf("device-%d", i), Health: plugin.Healthy})
	}
	if err := stream.Send(&plugin.ListAndWatchResponse{Devices: all}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate gives each container its devices.
func (d devices) Allocate(_ context.Context, request *plugin.AllocateRequest) (*plugin.AllocateResponse, error) {
	response := &plugin.AllocateResponse{}
	for _, c := range request.ContainerRequests {
		ids := strings.Join(c.DevicesIds, ",")
		fmt.Println("allocated", ids)
		response.ContainerResponses = append(response.ContainerResponses, &plugin.ContainerAllocateResponse{Envs: map[string]string{"TEST_DEVICES": ids}})
	}
	return response, nil
}

// printHolders asks kubelet itself: pod, container and device, a line each.
func printHolders(ctx context.Context, resource string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := dial(podResourcesSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	all, err := podresources.NewPodResourcesListerClient(conn).List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return err
	}
	for _, pod := range all.PodResources {
		for _, c := range pod.Containers {
			for _, held := range c.Devices {
				for _, id := range held.DeviceIds {
					if held.ResourceName == resource {
						fmt.Println(pod.Name, c.Name, id)
					}
				}
			}
		}
	}
	return nil
}
