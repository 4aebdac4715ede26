//go:build scale

package operation

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/releases"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/kubetest"
)

// TestScale plans and guards an upgrade of many machines (5000, or
// PAI_SCALE_NODES) with ten pods of jobs on each, all of them in a real API
// server. What the machines themselves say is made up. `make bench-upgrade`
// runs it and reads its figures from the lines that begin with FIGURE.
func TestScale(t *testing.T) {
	ctx := t.Context()
	nodes := 5000
	if n := os.Getenv("PAI_SCALE_NODES"); n != "" {
		var err error
		if nodes, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	cluster := kubetest.Start(t)
	start := time.Now()
	fill(t, cluster.Client, nodes)
	t.Logf("%d nodes and %d pods written in %s", nodes, nodes*podsPerNode, time.Since(start).Round(time.Second))

	s := scaleSession(t, cluster.Client, nodes)
	goal := Upgrade(plan.Target{Release: "v0.10"})
	var world plan.World
	figure(t, "observe", func() {
		var err error
		if world, err = Observe(ctx, s); err != nil || !world.APIReachable {
			t.Fatal(err, world.APIError)
		}
	})
	var p plan.Plan
	figure(t, "plan", func() {
		in, err := gather(ctx, s, goal, world)
		if err == nil {
			p, err = goal.Plan(in)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if len(p.Steps) < 3*nodes || len(world.Jobs) != nodes*podsPerNode/podsPerJob {
		t.Fatalf("%d steps and %d jobs for %d machines", len(p.Steps), len(world.Jobs), nodes)
	}
	impacts, err := impactsOf(s)
	if err != nil {
		t.Fatal(err)
	}
	var touched map[plan.StepID][]pai.JobRef
	figure(t, "find the jobs that steps could touch", func() { touched = guard.Impacts(p.Steps, world, impacts) })
	if len(touched) < nodes {
		t.Fatalf("%d of %d machines have a step that touches jobs", len(touched), nodes)
	}
	figure(t, "show", func() { t.Logf("the plan has %d characters", len(plan.Text(p, touched))) })

	g, err := newGuard(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	figure(t, "guard ten machines", func() {
		for _, step := range p.Steps {
			if step.Kind != plan.KindKubelet || step.Target == s.Config.ControlPlane().Hostname || asked == 10 {
				continue
			}
			asked++
			if d := g.Decide(ctx, step); d.Verdict == guard.Go {
				t.Errorf("%s may go although its machine said nothing about its containers", step.ID)
			}
		}
	})
	fmt.Printf("FIGURE steps: %d\nFIGURE jobs: %d\n", len(p.Steps), len(world.Jobs))
}

// figure prints how long something takes, and how much memory there is in use
// while it does, which it returns in bytes.
func figure(t *testing.T, name string, do func()) uint64 {
	t.Helper()
	runtime.GC()
	var peak atomic.Uint64
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	start := time.Now()
	do()
	took := time.Since(start)
	close(done)
	<-ended
	fmt.Printf("FIGURE %s: %.2f s, %d MiB\n", name, took.Seconds(), peak.Load()>>20)
	return peak.Load()
}

const (
	podsPerNode = 10
	podsPerJob  = 10
)

// fill writes nodes and pods, with the status that kubelets would give them.
func fill(t *testing.T, k *kube.Client, nodes int) {
	t.Helper()
	ctx := t.Context()
	cfg := k.RESTConfig()
	cfg.QPS = -1
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const namespace = pai.VirtualClusterNamespacePrefix + "default"
	if err := k.EnsureNamespace(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := api.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	group.SetLimit(32)
	for i := range nodes {
		group.Go(func() error {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: scaleName(i)}}
			created, err := api.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			created.Status.NodeInfo.KubeletVersion = "v1.35.4"
			created.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.2.3"
			created.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			if _, err = api.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
				return err
			}
			for n := range podsPerNode {
				if err := fillPod(ctx, api, namespace, i, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func fillPod(ctx context.Context, api kubernetes.Interface, namespace string, node, n int) error {
	number := node*podsPerNode + n
	job := fmt.Sprintf("job-%d", number/podsPerJob)
	off := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", job, number%podsPerJob),
			Labels: map[string]string{pai.LabelJob: job, pai.LabelUser: "admin", pai.LabelVirtualCluster: "default", pai.LabelTaskRole: "worker"}},
		Spec: corev1.PodSpec{NodeName: scaleName(node), AutomountServiceAccountToken: &off,
			Containers: []corev1.Container{{Name: "task", Image: "pai.local/example:v1", Command: []string{"trainer", "--interval", "1s"}}}},
	}
	created, err := api.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	created.Status.Phase = corev1.PodRunning
	created.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "task", Image: "pai.local/example:v1", ImageID: "sha256:0",
		ContainerID: fmt.Sprintf("containerd://%064d", number), Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}}
	_, err = api.CoreV1().Pods(namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

func scaleName(i int) string { return fmt.Sprintf("gpu-%05d", i) }

// scaleSession is a session with machines that say what one of release v0.9
// would say, and nothing about their containers.
func scaleSession(t *testing.T, k *kube.Client, nodes int) *session.Session {
	t.Helper()
	known, err := release.Load(releases.FS)
	if err != nil {
		t.Fatal(err)
	}
	state := os.Getenv("PAI_STATE_DIR")
	s := &session.Session{Config: &config.Config{}, Releases: known, Hosts: map[string]machine.Host{},
		Dirs: session.Dirs{State: state, Cache: kubetest.CacheDir(t)}, Progressf: func(string, ...any) {}}
	s.UseKube(k)
	key, err := session.EnsureBundle(t.Context(), s.Dirs, "", "v0.10", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Services.Cluster.Common.ClusterID = "scale"
	s.Config.Services.Cluster.Common.TrustedBundleKeys = []string{release.EncodePublicKey(key)}
	for i := range nodes {
		m := config.Machine{Hostname: scaleName(i), HostIP: fmt.Sprintf("10.%d.%d.1", i/256, i%256), Role: config.RoleWorker}
		roles := []string{"containerd", "kubelet", "kube-proxy", "network", "api-proxy"}
		if i == 0 {
			m.Role = config.RoleControlPlane
			roles = append(roles, "etcd-a", "apiserver-a", "controller-manager", "scheduler")
		}
		s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, m)
		s.Hosts[m.Hostname] = madeUp{name: m.Hostname, roles: roles}
	}
	return s
}

// madeUp is a machine that says what it would say.
type madeUp struct {
	machine.Host
	name  string
	roles []string
}

func (h madeUp) Name() string { return h.name }

func (h madeUp) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	answered, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report {
		r := inspect.Report{Programs: map[string]map[string]string{"v0.9-pai": {}}, Roles: map[layout.Role]inspect.Role{},
			Prepared: &inspect.Preparation{PrepareActive: true, ShutdownActive: true, Joined: true}}
		for i, role := range h.roles {
			program := layout.Program("v0.9-pai", path.Base(layout.ProgramsOf(layout.Role(role))[0]))
			r.Roles[layout.Role(role)] = inspect.Role{Link: "v0.9-pai", Active: true, PID: 100 + i, Program: program}
		}
		return r
	})
	if !answered {
		return machine.Output{}, fmt.Errorf("%s says nothing", h.name)
	}
	return machine.Output{}, err
}

func (h madeUp) ReadFile(_ context.Context, path string) ([]byte, error) {
	if strings.HasSuffix(path, "/cluster.json") {
		return []byte(`{"clusterId":"scale","kubernetes":"v0.9-pai","services":"v0.9"}`), nil
	}
	return nil, fs.ErrNotExist
}
