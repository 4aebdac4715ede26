package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
)

const (
	// gpuResource is the resource that device plugins for GPUs offer.
	gpuResource = "nvidia.com/gpu"
	// checkpoint is where the kubelet stores which devices were offered to it.
	checkpoint    = "kubelet_internal_checkpoint"
	pluginTimeout = 2 * time.Second
)

// devicePlugin reports a device plugin for GPUs that is not of PAI: the kubelet has GPUs,
// the machine has no agent of PAI, and another plugin is listening. Of several, it is the
// first one; the kubelet does not say which plugin offers what.
func (i *inspection) devicePlugin(ctx context.Context) error {
	links, err := i.links()
	if err != nil || links[layout.RoleGPU] != "" {
		return err
	}
	data, err := i.read(layout.DevicePluginsDir + "/" + checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var stored struct {
		Data struct{ RegisteredDevices map[string][]string }
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return fmt.Errorf("read which devices the kubelet has: %w", err)
	}
	if _, found := stored.Data.RegisteredDevices[gpuResource]; !found {
		return nil
	}
	names, err := i.names(layout.DevicePluginsDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := layout.DevicePluginsDir + "/" + name
		if name != "kubelet.sock" && strings.HasSuffix(name, ".sock") && i.listens(ctx, path) {
			i.report.DevicePlugin = path
			return nil
		}
	}
	return nil
}

// listens reports whether a process accepts connections at a socket.
func (i *inspection) listens(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", i.at(path))
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}
