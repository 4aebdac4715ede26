package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/poll"
)

const (
	// lookEvery is how often the socket of the kubelet is looked at. After a reboot the
	// kubelet refuses the pods that had a GPU if it does not know the GPUs in time.
	lookEvery       = 50 * time.Millisecond
	registerTimeout = 10 * time.Second
	retryAfter      = time.Second
	stopTimeout     = time.Second
)

// Registration offers a plugin to the kubelet.
type Registration struct {
	Plugin *Plugin
	// Dir is the directory in which the kubelet and the plugins have their sockets.
	Dir string
	// Socket is the name of the socket of this plugin. Another process has another one.
	Socket string
	// Registered is called after each registration, and with false when it ends.
	Registered func(bool)
	Log        *slog.Logger
}

func (r Registration) kubelet() string { return filepath.Join(r.Dir, "kubelet.sock") }
func (r Registration) socket() string  { return filepath.Join(r.Dir, r.Socket) }

// Run registers with the kubelet, and again with each kubelet that starts, until ctx
// ends. A kubelet that starts removes the sockets of all plugins.
func (r Registration) Run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := lookEvery
		if kubelet, err := os.Stat(r.kubelet()); err == nil {
			if err := r.serve(ctx, kubelet); err != nil && ctx.Err() == nil {
				r.Log.Error("register with the kubelet", "error", err)
				pause = retryAfter
			}
		}
		_ = poll.Sleep(ctx, pause) // the loop looks at ctx
	}
}

// serve registers, and returns when the kubelet has ended.
func (r Registration) serve(ctx context.Context, kubelet fs.FileInfo) error {
	if err := os.Remove(r.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", r.socket())
	if err != nil {
		return fmt.Errorf("listen for the kubelet: %w", err)
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, r.Plugin)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	defer stop(server)
	if err := r.register(ctx); err != nil {
		return err
	}
	r.Registered(true)
	defer r.Registered(false)
	r.Log.Info("registered with the kubelet", "socket", r.Socket)
	for r.sameKubelet(kubelet) {
		select {
		case err := <-failed:
			return fmt.Errorf("serve the kubelet: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
	return nil
}

// stop ends a server. Streams of a kubelet that is there never end by themselves.
func stop(server *grpc.Server) {
	done := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(stopTimeout):
		server.Stop()
	}
}

// sameKubelet reports whether the kubelet still is the one that was registered with.
func (r Registration) sameKubelet(socket fs.FileInfo) bool {
	now, err := os.Stat(r.kubelet())
	if err != nil || !os.SameFile(now, socket) || !now.ModTime().Equal(socket.ModTime()) {
		return false
	}
	_, err = os.Stat(r.socket())
	return err == nil
}

func (r Registration) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, registerTimeout, fmt.Errorf("no answer within %s", registerTimeout))
	defer cancel()
	conn, err := grpc.NewClient("unix://"+r.kubelet(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to the kubelet: %w", err)
	}
	defer conn.Close()
	_, err = api.NewRegistrationClient(conn).Register(ctx, &api.RegisterRequest{
		Version: api.Version, Endpoint: r.Socket, ResourceName: gpu.Resource,
		Options: &api.DevicePluginOptions{GetPreferredAllocationAvailable: true},
	})
	if err != nil {
		return fmt.Errorf("register with the kubelet: %w", err)
	}
	return nil
}
