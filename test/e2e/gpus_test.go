//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGPUs has PAI offer the GPUs of a machine. The driver is made up: a library with two
// GPUs and device files that are those of other devices. Everything else is real. A job
// that holds a GPU keeps its container and its GPU while the agent, the kubelet, and the
// container runtime are replaced, while a GPU breaks, and while the agent is removed and
// comes back. Then the machine restarts.
func TestGPUs(t *testing.T) {
	inTestAll(t, "ten minutes on another cluster")
	g := &gpuStory{operator: newOperator(t, "gpus")}
	g.run(20*time.Minute, "up", "--yes")
	for _, chapter := range []struct {
		name string
		run  func(*gpuStory)
	}{
		{"a machine without GPUs has no agent", (*gpuStory).noAgent},
		{"the agent comes with the configuration", (*gpuStory).agentComes},
		{"a job gets a GPU", (*gpuStory).jobGetsOne},
		{"a job that asks for too many waits", (*gpuStory).tooManyWait},
		{"metrics name the GPU and the job", (*gpuStory).metricsShown},
		{"programs are replaced under a job", (*gpuStory).programsReplaced},
		{"paictl replaces the agent under a job", (*gpuStory).agentReplaced},
		{"an error of a program leaves its GPU healthy", (*gpuStory).errorOfProgram},
		{"a broken GPU is not offered", (*gpuStory).gpuBreaks},
		{"the agent is removed and comes back", (*gpuStory).agentGoes},
		{"the machine restarts", (*gpuStory).machineRestarts},
	} {
		ok := g.part(chapter.name, func(o *operator) {
			outer := g.operator
			g.operator = o
			defer func() { g.operator = outer }()
			chapter.run(g)
		})
		if !ok {
			t.FailNow() // each chapter begins where the one before ended
		}
	}
}

// gpuStory is one machine with GPUs.
type gpuStory struct {
	*operator
	containers []container
	device     string // that the job "device" holds
}

const fakeGPU = "GPU-00000000-0000-0000-0000-00000000000"

func (g *gpuStory) noAgent() {
	g.on("pai-1", "test ! -e /etc/systemd/system/pai-gpu.service && test ! -e /opt/pai/role/gpu && test ! -e /run/cdi/pai-gpu.json")
}

// agentComes installs the driver and says that the machine has GPUs.
func (g *gpuStory) agentComes() {
	g.installDriver("pai-1")
	g.setGPUs(2)
	// Other steps of the machine can come with its SKU.
	if got := g.bootSteps(); !slices.Contains(got, "machine/pai-1/gpu") || slices.Contains(got, "machine/pai-1/kubelet") {
		g.t.Fatalf("got steps %v, want the agent and no other program", got)
	}
	g.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	g.allocatable("2")
	if got := g.bootSteps(); len(got) != 0 {
		g.t.Errorf("got steps %v afterwards, want none", got)
	}
}

// installDriver puts the made-up driver on a machine, and has its device files made at
// every boot, before PAI starts.
func (g *gpuStory) installDriver(machine string) {
	t := g.t
	library := filepath.Join(t.TempDir(), "libnvidia-ml.so")
	source := filepath.Join(repository(), "internal/gpu/nvml/testdata/driver.c")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("build the driver: %v\n%s", err, out)
	}
	f, err := os.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// null, zero, full, and urandom: a container can use them, and distinguish them.
	const script = `cd /usr/lib/x86_64-linux-gnu && cat >libnvidia-ml.so.535.261.03 && ln -sf libnvidia-ml.so.535.261.03 libnvidia-ml.so.1
cat >/etc/systemd/system/test-driver.service <<END
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=pai-prepare.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mknod -m 666 /dev/nvidia0 c 1 3; mknod -m 666 /dev/nvidia1 c 1 5; mknod -m 666 /dev/nvidiactl c 1 7; mknod -m 666 /dev/nvidia-uvm c 1 9; mkdir -p /run/fake-driver'
[Install]
WantedBy=sysinit.target
END
systemctl daemon-reload && systemctl enable -q --now test-driver && test -c /dev/nvidia0`
	if out, err := g.try(ctx, f, "machine", "shell", machine, "--", script); err != nil {
		t.Fatalf("install the driver: %v\n%s", err, out)
	}
}

// setGPUs pushes a configuration in which the machine has a number of GPUs.
func (g *gpuStory) setGPUs(count int) {
	g.t.Helper()
	file := filepath.Join(g.state, "clusters/local/config/layout.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		g.t.Fatal(err)
	}
	text := string(data)
	if i := strings.Index(text, "# GPUs of the test\n"); i >= 0 {
		text = text[:i]
	}
	if !strings.Contains(text, "machine-type: made-up") {
		text = strings.Replace(text, "  - hostname: pai-1\n", "  - hostname: pai-1\n    machine-type: made-up\n", 1)
	}
	text += "# GPUs of the test\nmachine-sku:\n  made-up:\n    mem: 4\n    cpu: {vcore: 2}\n"
	if count > 0 {
		text += fmt.Sprintf("    gpu: {type: h100, count: %d}\n", count)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.run(time.Minute, "config", "push", "-m", fmt.Sprintf("%d GPUs", count))
}

// allocatable waits until new pods can have a number of GPUs.
func (g *gpuStory) allocatable(want string) {
	g.t.Helper()
	g.eventually(time.Minute, want+" GPUs are offered", func() (bool, string) {
		out, err := g.tryKubectl(`get node pai-1 -o jsonpath='{.status.allocatable.nvidia\.com/gpu}'`)
		return err == nil && out == want, out
	})
}

// held is which GPU each pod holds, as the kubelet says and the agent shows.
func (g *gpuStory) held() map[string]string {
	g.t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(g.on("pai-1", "cat /run/pai/metrics/gpu.prom")) {
		if labels, ok := strings.CutPrefix(line, "pai_gpu_healthy{"); ok {
			if pod, uuid := label(labels, "pod"), label(labels, "uuid"); pod != "" {
				found[pod] = uuid
			}
		}
	}
	return found
}

func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (g *gpuStory) jobGetsOne() {
	g.submit("test/e2e/testdata/device.yaml", 1)
	g.containers = g.jobContainers()
	pod := g.containers[0].Pod
	g.eventually(time.Minute, "the agent shows who holds a GPU", func() (bool, string) {
		held := g.held()
		g.device = held[pod]
		return len(held) == 1 && g.device != "", fmt.Sprint(held)
	})
	own := strings.TrimPrefix(g.device, fakeGPU)
	other := map[string]string{"0": "1", "1": "0"}[own]
	out := g.inJob("ls -la /dev/nvidia* /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1 /usr/lib64/libnvidia-ml.so.1; stat -c %t:%T /dev/nvidia" + own + " /dev/nvidiactl; echo visible=$NVIDIA_VISIBLE_DEVICES")
	for _, want := range []string{"/dev/nvidia" + own + "\n", "/dev/nvidiactl\n", "/dev/nvidia-uvm\n", "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1\n", "/usr/lib64/libnvidia-ml.so.1\n",
		map[string]string{"0": "1:3\n", "1": "1:5\n"}[own], "1:7\n", "visible=void"} {
		if !strings.Contains(out, want) {
			g.t.Errorf("the container lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "/dev/nvidia"+other+"\n") {
		g.t.Errorf("the container has a GPU that it did not get:\n%s", out)
	}
}

// inJob runs a command in the container of the job.
func (g *gpuStory) inJob(command string) string {
	g.t.Helper()
	id := strings.TrimPrefix(g.containers[0].ID, "containerd://")
	return g.on("pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io task exec --exec-id e$(date +%s%N) "+id+" /bin/sh -c '"+command+"'")
}

// kept wants the job to have the container and the GPU that it had, and the GPUs to be
// offered again.
func (g *gpuStory) kept(what, offered string) {
	g.t.Helper()
	g.allocatable(offered)
	if now := g.containersOf("device"); !reflect.DeepEqual(now, g.containers) {
		g.t.Errorf("%s: got containers %+v, want %+v", what, now, g.containers)
	}
	g.eventually(time.Minute, what+": the job holds its GPU", func() (bool, string) {
		held := g.held()
		return held[g.containers[0].Pod] == g.device, fmt.Sprint(held)
	})
	if out := g.inJob("ls /dev/nvidia" + strings.TrimPrefix(g.device, fakeGPU)); strings.TrimSpace(out) == "" {
		g.t.Errorf("%s: the device file was deleted", what)
	}
}

// tooManyWait submits a job for both GPUs, which one job shares.
func (g *gpuStory) tooManyWait() {
	data, err := os.ReadFile("testdata/device-2.yaml")
	if err != nil {
		g.t.Fatal(err)
	}
	file := filepath.Join(g.t.TempDir(), "both.yaml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("name: device-2", "name: both", "gpu: 1", "gpu: 2").Replace(string(data))), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.run(time.Minute, "job", "submit", file)
	g.waitsForGPUs("both")
	if got := g.containersOf("both"); len(got) != 0 {
		g.t.Errorf("a job has GPUs that another one holds: %+v", got)
	}
	g.hasState("both", "WAITING")
	g.stopJob("both")
}

// waitsForGPUs waits until the scheduler has found no machine with enough free GPUs.
func (g *gpuStory) waitsForGPUs(name string) {
	g.t.Helper()
	g.eventually(time.Minute, "job "+name+" waits for GPUs", func() (bool, string) {
		out := g.run(time.Minute, "job", "show", name, "-o", "json")
		return strings.Contains(out, "has enough free nvidia.com/gpu"), out
	})
}

// metricsShown asks node-exporter, with its login.
func (g *gpuStory) metricsShown() {
	var machines []struct{ Name, Address string }
	g.json(&machines, "machine", "list")
	const password = "PASSWORD=$(KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/kubelet/bin/kubectl -n pai-system get secret metrics-login -o jsonpath={.data.scrape-password} | base64 -d); "
	url := "https://" + machines[0].Address + ":9100/metrics"
	g.eventually(time.Minute, "node-exporter shows the GPUs", func() (bool, string) {
		out := g.on("pai-1", password+"curl -sk -u scrape:$PASSWORD "+url+" | grep ^pai_gpu || :")
		for _, want := range []string{"pai_gpu_driver_up{driver=\"535.261.03\"} 1", "pai_gpu_temperature_celsius{", "pod=\"" + g.containers[0].Pod + "\"", "model=\"NVIDIA H100 80GB HBM3\""} {
			if !strings.Contains(out, want) {
				return false, out
			}
		}
		return true, ""
	})
	if code := g.on("pai-1", "curl -sk -o /dev/null -w '%{http_code}' "+url); code != "401" {
		g.t.Errorf("got HTTP status %s without a login", code)
	}
}

func (g *gpuStory) programsReplaced() {
	for _, unit := range []string{"pai-gpu", "pai-kubelet", "pai-containerd", "pai-gpu"} {
		g.on("pai-1", "systemctl restart "+unit)
		g.kept(unit+" was replaced", "2")
	}
	g.on("pai-1", "systemctl kill -s KILL pai-gpu")
	g.kept("the agent was killed", "2")
	g.submit("test/e2e/testdata/device-2.yaml", 2)
	g.eventually(time.Minute, "both GPUs are held", func() (bool, string) {
		held := g.held()
		return len(held) == 2, fmt.Sprint(held)
	})
	g.stopJob("device-2")
	g.ended("device-2")
}

func (g *gpuStory) ended(job string) {
	g.t.Helper()
	g.eventually(time.Minute, "job "+job+" has ended", func() (bool, string) {
		left := g.containersOf(job)
		return len(left) == 0, fmt.Sprint(left)
	})
}

// agentReplaced changes how the agent is started, which paictl notices and replaces.
func (g *gpuStory) agentReplaced() {
	g.on("pai-1", "echo '# changed' >>$(readlink -f /opt/pai/role/gpu/run/gpu) && systemctl restart pai-gpu")
	if got := g.bootSteps(); !slices.Equal(got, []string{"machine/pai-1/gpu"}) {
		g.t.Fatalf("got steps %v for a changed agent, want only its own", got)
	}
	// The history of upgrades does not have boots.
	if op := checkStream(g.t, g.run(5*time.Minute, "cluster", "k8s-bootup", "--yes", "-o", "json")); op.Outcome != "succeeded" || len(op.Jobs.Interrupted) != 0 {
		g.t.Errorf("recorded: %+v", op)
	}
	g.kept("paictl replaced the agent", "2")
}

// reportXid has the driver report an error of a GPU.
func (g *gpuStory) reportXid(index string, xid int) {
	g.t.Helper()
	g.on("pai-1", fmt.Sprintf("echo %s %d >/run/fake-driver/new && mv /run/fake-driver/new /run/fake-driver/xid", index, xid))
	g.eventually(time.Minute, "the agent has the error", func() (bool, string) {
		out := g.on("pai-1", "journalctl -u pai-gpu -o cat --no-pager -n 30")
		return strings.Contains(out, fmt.Sprintf("Xid %d ", xid)), out
	})
}

func (g *gpuStory) errorOfProgram() {
	g.reportXid(strings.TrimPrefix(g.device, fakeGPU), 31)
	g.kept("Xid 31", "2")
	if out := g.on("pai-1", "journalctl -u pai-gpu -o cat --no-pager -n 30"); !strings.Contains(out, "pod="+g.containers[0].Pod) {
		g.t.Errorf("the journal does not name the pod:\n%s", out)
	}
}

// gpuBreaks breaks the GPU that the job does not hold.
func (g *gpuStory) gpuBreaks() {
	free := map[string]string{"0": "1", "1": "0"}[strings.TrimPrefix(g.device, fakeGPU)]
	g.reportXid(free, 79)
	g.kept("a GPU broke", "1")
	g.run(time.Minute, "job", "submit", g.jobFileAs("device-3", "test/e2e/testdata/device-2.yaml")) // device-2 has ended
	g.waitsForGPUs("device-3")
	if got := g.containersOf("device-3"); len(got) != 0 {
		g.t.Errorf("a job has a broken GPU: %+v", got)
	}
	g.stopJob("device-3")
	g.on("pai-1", "systemctl restart pai-gpu")
	g.kept("the agent was replaced beside a broken GPU", "1")
	var s struct {
		GPUs []struct {
			UUID, Reason string
			Healthy      bool
		}
	}
	if err := json.Unmarshal([]byte(g.on("pai-1", "cat /run/pai/gpu/status.json")), &s); err != nil {
		g.t.Fatal(err)
	}
	for _, d := range s.GPUs {
		if broken := d.UUID == fakeGPU+free; d.Healthy == broken || broken != strings.Contains(d.Reason, "Xid 79") {
			g.t.Errorf("got status %+v", d)
		}
	}
}

// agentGoes removes the agent, as a rollback to a release without it does.
func (g *gpuStory) agentGoes() {
	g.setGPUs(0)
	op := checkStream(g.t, g.run(5*time.Minute, "cluster", "k8s-bootup", "--yes", "-o", "json"))
	g.noAgent()
	if op.Outcome != "succeeded" || len(op.Jobs.Interrupted) != 0 {
		g.t.Errorf("recorded: %+v", op)
	}
	if now := g.containersOf("device"); !reflect.DeepEqual(now, g.containers) {
		g.t.Errorf("got containers %+v without the agent, want %+v", now, g.containers)
	}
	g.setGPUs(2)
	g.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	g.kept("the agent came back", "1")
}

// machineRestarts wants a rebooted machine to offer its GPUs before its pods start, a
// GPU that was broken to be offered again, and a job whose task the restart ended to run
// again, although it is not to be retried.
func (g *gpuStory) machineRestarts() {
	g.run(3*time.Minute, "machine", "restart", "pai-1")
	g.allocatable("2")
	before := g.containers
	g.eventually(2*time.Minute, "the job runs again", func() (bool, string) {
		g.containers = g.containersOf("device")
		return len(g.containers) == 1 && g.containers[0].ID != before[0].ID, g.kubectl("get pods -A -l pai.dev/job -o yaml")
	})
	g.eventually(time.Minute, "it holds a GPU", func() (bool, string) {
		held := g.held()
		return held[g.containers[0].Pod] != "", fmt.Sprint(held)
	})
}
