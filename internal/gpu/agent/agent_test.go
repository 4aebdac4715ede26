package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	plugins "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/agent"
	"pai.dev/pai/internal/poll"
)

// driver is a driver with two GPUs.
type driver struct {
	mu     sync.Mutex
	lost   map[string]bool
	broken error // of everything
	events chan gpu.Event
}

func (d *driver) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *driver) Driver() (string, error) { return "535.261.03", nil }
func (d *driver) Close()                  {}

func (d *driver) Devices() ([]gpu.Device, map[int]error, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost, found := map[int]error{}, []gpu.Device{}
	for i, id := range []string{"GPU-a", "GPU-b"} {
		if d.lost[id] {
			lost[i] = errors.New("GPU is lost")
			continue
		}
		found = append(found, gpu.Device{Index: i, Minor: i, UUID: id, BusID: "00000000:0A:00.0"})
	}
	return found, lost, d.broken
}

func (d *driver) Sample(string) (gpu.Sample, error) { return gpu.Sample{}, nil }

func (d *driver) Watch(ctx context.Context, _ []string, _ func(string, error), report func(gpu.Event)) error {
	for {
		select {
		case e := <-d.events:
			report(e)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// machine is a machine with a kubelet.
type machine struct {
	plugins.UnimplementedRegistrationServer
	podresources.UnimplementedPodResourcesListerServer
	t          *testing.T
	root       string
	driver     *driver
	opened     error // of the driver
	opens      int   // attempts
	registered chan string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir(), driver: &driver{lost: map[string]bool{}, events: make(chan gpu.Event)}, registered: make(chan string, 8)}
	for _, dir := range []string{"dev", "plugins", "sys/bus/pci/devices/0000:0a:00.0"} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(m.root, "sys/bus/pci/devices/0000:0a:00.0/numa_node"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nvidia0", "nvidia1"} {
		if err := os.Symlink("/dev/null", filepath.Join(m.root, "dev", name)); err != nil {
			t.Fatal(err)
		}
	}
	server := grpc.NewServer()
	plugins.RegisterRegistrationServer(server, m)
	podresources.RegisterPodResourcesListerServer(server, m)
	for _, socket := range []string{"plugins/kubelet.sock", "podresources.sock"} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(m.root, socket))
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(listener)
	}
	t.Cleanup(server.Stop)
	return m
}

func (m *machine) Register(_ context.Context, r *plugins.RegisterRequest) (*plugins.Empty, error) {
	m.registered <- r.GetEndpoint()
	return &plugins.Empty{}, nil
}

// List says that a task of the job "train" has the first GPU.
func (m *machine) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	devices := []*podresources.ContainerDevices{{ResourceName: gpu.Resource, DeviceIds: []string{"GPU-a"}}, {ResourceName: "other", DeviceIds: []string{"GPU-b"}}}
	return &podresources.ListPodResourcesResponse{PodResources: []*podresources.PodResources{{
		Name: "train-0", Namespace: "pai-alice", Containers: []*podresources.ContainerResources{{Name: "worker", Devices: devices}}}}}, nil
}

func (m *machine) file(name string) string { return filepath.Join(m.root, name) }

// start runs an agent, and returns what stops it.
func (m *machine) start() (stop func()) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- agent.Run(ctx, agent.Options{
			Root: m.root, PluginDir: m.file("plugins"), PodResources: m.file("podresources.sock"), SpecFile: m.file("cdi/gpu.json"),
			HealthFile: m.file("health.json"), StatusFile: m.file("status.json"), MetricsFile: m.file("metrics/gpu.prom"),
			Open: func() (gpu.Library, error) {
				m.driver.mu.Lock()
				defer m.driver.mu.Unlock()
				m.opens++
				return m.driver, m.opened
			},
			Timings: agent.Timings{Look: 20 * time.Millisecond, Retry: 20 * time.Millisecond, DriverTimeout: time.Hour},
			Log:     slog.New(slog.DiscardHandler),
		})
	}()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("the agent ended with %v", err)
		}
	})
}

// await waits for a status.
func (m *machine) await(what string, ok func(agent.Status) bool) agent.Status {
	m.t.Helper()
	var s agent.Status
	err := poll.Wait{For: what, Timeout: 30 * time.Second, Every: 10 * time.Millisecond}.Until(m.t.Context(), func(context.Context) (bool, error) {
		data, err := os.ReadFile(m.file("status.json"))
		if err != nil {
			return false, nil //nolint:nilerr // not yet written
		}
		s = agent.Status{}
		return json.Unmarshal(data, &s) == nil && ok(s), nil
	})
	if err != nil {
		m.t.Fatalf("%v; the status is %+v", err, s)
	}
	return s
}

// awaitOpens waits until the agent has tried to open the driver so many times.
func (m *machine) awaitOpens(count int) {
	m.t.Helper()
	wait := poll.Wait{For: fmt.Sprintf("the driver to be opened %d times", count), Timeout: 30 * time.Second, Every: 10 * time.Millisecond}
	if err := wait.Until(m.t.Context(), func(context.Context) (bool, error) {
		m.driver.mu.Lock()
		defer m.driver.mu.Unlock()
		return m.opens >= count, nil
	}); err != nil {
		m.t.Fatal(err)
	}
}

// offered is what the plugin says now.
func (m *machine) offered() []*plugins.Device {
	m.t.Helper()
	var socket string
	select {
	case socket = <-m.registered:
		m.registered <- socket
	case <-time.After(30 * time.Second):
		m.t.Fatal("the agent did not register")
	}
	conn, err := grpc.NewClient("unix://"+m.file("plugins/"+socket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	stream, err := plugins.NewDevicePluginClient(conn).ListAndWatch(m.t.Context(), &plugins.Empty{})
	if err != nil {
		m.t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil {
		m.t.Fatal(err)
	}
	return r.GetDevices()
}

func (m *machine) metrics() string {
	m.t.Helper()
	data, err := os.ReadFile(m.file("metrics/gpu.prom"))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

func reasonOf(s agent.Status, uuid string) string {
	i := slices.IndexFunc(s.GPUs, func(d agent.StatusDevice) bool { return d.UUID == uuid })
	if i < 0 {
		return "not listed"
	}
	return s.GPUs[i].Reason
}

func ready(s agent.Status) bool { return s.Registered && len(s.GPUs) == 2 }

func TestAgentOffersGPUs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.start()
	defer stop()
	s := m.await("the agent is ready", ready)
	if s.PID != os.Getpid() || s.Driver != "535.261.03" || s.Problem != "" {
		t.Errorf("got status %+v", s)
	}
	if d := m.offered(); len(d) != 2 || d[0].GetHealth() != "Healthy" || d[0].GetTopology().GetNodes()[0].GetID() != 1 {
		t.Errorf("got %v, want two healthy GPUs near NUMA node 1", d)
	}
	spec, err := os.ReadFile(m.file("cdi/gpu.json"))
	if err != nil || !strings.Contains(string(spec), `"name": "GPU-b"`) {
		t.Errorf("the runtime reads %s, error %v", spec, err)
	}
	if text := m.metrics(); !strings.Contains(text, `pai_gpu_healthy{container="worker",gpu="0",model="",namespace="pai-alice",pod="train-0",uuid="GPU-a"} 1`) ||
		!strings.Contains(text, `pod="",uuid="GPU-b"} 1`) {
		t.Errorf("got metrics\n%s", text)
	}
	stop()
	for _, name := range []string{"status.json", "metrics/gpu.prom"} {
		if _, err := os.Stat(m.file(name)); !os.IsNotExist(err) {
			t.Errorf("%s is left of an agent that ended", name)
		}
	}
	if _, err := os.Stat(m.file("cdi/gpu.json")); err != nil {
		t.Errorf("a container that starts again needs the file for the runtime: %v", err)
	}
}

func TestXidMakesAGPUUnhealthy(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.start()
	defer stop()
	m.await("the agent is ready", ready)
	m.driver.events <- gpu.Event{UUID: "GPU-a", Xid: 31}
	m.driver.events <- gpu.Event{UUID: "GPU-b", Xid: 79}
	s := m.await("GPU-b is unhealthy", func(s agent.Status) bool { return reasonOf(s, "GPU-b") != "" })
	if got, other := reasonOf(s, "GPU-b"), reasonOf(s, "GPU-a"); got != "Xid 79 (GPU has fallen off the bus)" || other != "" {
		t.Errorf("got the reasons %q and %q, want only that of GPU-b: Xid 31 is the fault of a program", got, other)
	}
	if d := m.offered(); d[0].GetHealth() != "Healthy" || d[1].GetHealth() != "Unhealthy" {
		t.Errorf("got %v", d)
	}
	stop()
	<-m.registered
	stop = m.start() // the driver does not report the error again
	defer stop()
	if s := m.await("the next agent is ready", ready); reasonOf(s, "GPU-b") == "" {
		t.Errorf("the next agent lost that a GPU is unhealthy: %+v", s)
	}
	if text := m.metrics(); !strings.Contains(text, `uuid="GPU-b",xid="79"} 1`) || !strings.Contains(text, `uuid="GPU-a",xid="31"} 1`) {
		t.Errorf("got metrics\n%s", text)
	}
}

func TestXidOfNoGPUConcernsAll(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.start()()
	m.await("the agent is ready", ready)
	m.driver.events <- gpu.Event{Xid: 79}
	m.await("both are unhealthy", func(s agent.Status) bool { return reasonOf(s, "GPU-a") != "" && reasonOf(s, "GPU-b") != "" })
}

func TestLostGPUIsUnhealthyUntilItIsBack(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.start()()
	m.await("the agent is ready", ready)
	m.driver.set(func() { m.driver.lost["GPU-b"] = true })
	m.await("GPU-b is unhealthy", func(s agent.Status) bool {
		return strings.Contains(reasonOf(s, "GPU-b"), "no longer lists it") && reasonOf(s, "GPU-a") == ""
	})
	m.driver.set(func() { delete(m.driver.lost, "GPU-b") })
	m.await("GPU-b is healthy", func(s agent.Status) bool { return ready(s) && reasonOf(s, "GPU-b") == "" })
}

func TestMissingDeviceFileMakesAGPUUnhealthy(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if err := os.Remove(m.file("dev/nvidia1")); err != nil {
		t.Fatal(err)
	}
	defer m.start()()
	m.await("GPU-b is unhealthy", func(s agent.Status) bool {
		return ready(s) && strings.Contains(reasonOf(s, "GPU-b"), "/dev/nvidia1")
	})
}

func TestDriverThatComesLate(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.opened = errors.New("library not found")
	defer m.start()()
	m.await("the problem is written", func(s agent.Status) bool { return s.Problem != "" })
	m.awaitOpens(20) // long enough for a registration
	select {
	case <-m.registered:
		t.Error("the agent reported no GPUs to the kubelet, before the driver had time")
	default:
	}
	m.driver.set(func() { m.opened = nil })
	m.await("the agent is ready", ready)
	m.driver.set(func() { m.driver.broken = errors.New("driver is unloaded") })
	m.await("all are unhealthy", func(s agent.Status) bool { return strings.Contains(reasonOf(s, "GPU-a"), "unloaded") && s.Registered })
	m.driver.set(func() { m.driver.broken = nil })
	m.await("the agent is ready again", func(s agent.Status) bool { return ready(s) && reasonOf(s, "GPU-a") == "" })
}
