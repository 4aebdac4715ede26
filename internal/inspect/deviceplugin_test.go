package inspect_test

import (
	"net"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

func TestOtherDevicePlugin(t *testing.T) {
	t.Parallel()
	const checkpoint = layout.DevicePluginsDir + "/kubelet_internal_checkpoint"
	const gpus = `{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{"nvidia.com/gpu":["GPU-a"]}},"Checksum":1}`
	for name, c := range map[string]struct {
		checkpoint string
		socket     string // of the plugin that is listening
		agent      bool   // of PAI
		want       string
	}{
		"none":            {},
		"NVIDIA":          {gpus, "nvidia-gpu.sock", false, layout.DevicePluginsDir + "/nvidia-gpu.sock"},
		"PAI":             {gpus, "pai-gpu-1.sock", true, ""},
		"for other cards": {`{"Data":{"RegisteredDevices":{"rdma/hca":["a"]}}}`, "rdma.sock", false, ""},
		"ended":           {gpus, "", false, ""},
		"only kubelet":    {gpus, "kubelet.sock", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := inspecttest.NewRoot(t)
			r.Write(layout.DevicePluginsDir+"/left.sock", "") // of a plugin that ended
			if c.checkpoint != "" {
				r.Write(checkpoint, c.checkpoint)
			}
			if c.socket != "" {
				listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", r.At(layout.DevicePluginsDir+"/"+c.socket))
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
			}
			if c.agent {
				r.Link(layout.RoleLink(layout.RoleGPU), "../v0.11-pai")
			}
			got := ask(t, r, inspect.DevicePlugin)
			if got.DevicePlugin != c.want || got.Problem(inspect.DevicePlugin) != "" {
				t.Errorf("got %q, problems %v; want %q", got.DevicePlugin, got.Problems, c.want)
			}
		})
	}
	r := inspecttest.NewRoot(t)
	r.Write(checkpoint, "{")
	if got := ask(t, r, inspect.DevicePlugin); got.Problem(inspect.DevicePlugin) == "" {
		t.Error("a checkpoint that cannot be read is no problem")
	}
}
