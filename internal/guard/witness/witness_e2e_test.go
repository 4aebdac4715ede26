//go:build live

package witness_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// The test cluster, with one machine:
//
//	PAI_E2E_KUBECONFIG  the admin kubeconfig
//	PAI_E2E_MACHINES    NAME=ADDRESS of the machine
//	PAI_E2E_KEY         private key for ssh
//	PAI_E2E_KNOWN_HOSTS its host key
//	PAI_E2E_IMAGE       an image with /busybox
type testCluster struct {
	t    *testing.T
	rest *rest.Config
	core kubernetes.Interface
	host machine.Host
	step atomic.Value
}

func connect(t *testing.T) *testCluster {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", need(t, "PAI_E2E_KUBECONFIG"))
	check(t, err)
	core, err := kubernetes.NewForConfig(cfg)
	check(t, err)
	name, address, ok := strings.Cut(need(t, "PAI_E2E_MACHINES"), "=")
	if !ok {
		t.Fatal("PAI_E2E_MACHINES is not NAME=ADDRESS")
	}
	host, err := machine.Dial(t.Context(), machine.Endpoint{Name: name, Address: address,
		KeyFile: need(t, "PAI_E2E_KEY"), KnownHosts: need(t, "PAI_E2E_KNOWN_HOSTS")})
	check(t, err)
	t.Cleanup(func() { _ = host.Close() })
	c := &testCluster{t: t, rest: cfg, core: core, host: host}
	c.step.Store("")
	return c
}

func need(t *testing.T, variable string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Fatalf("%s is not set", variable)
	}
	return v
}

// space creates an empty namespace and deletes it after the test.
func (c *testCluster) space() {
	c.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	_, err := c.core.CoreV1().Namespaces().Create(c.t.Context(), ns, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		check(c.t, err)
	}
	c.t.Cleanup(func() {
		err := c.core.CoreV1().Namespaces().Delete(context.WithoutCancel(c.t.Context()), namespace, metav1.DeleteOptions{})
		if err != nil {
			c.t.Errorf("delete the namespace: %v", err)
		}
		c.await("the namespace was deleted", func() bool {
			_, err := c.core.CoreV1().Namespaces().Get(context.WithoutCancel(c.t.Context()), namespace, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	})
}

// job starts a pod that carries a job's labels and runs a script, and waits
// until it runs.
func (c *testCluster) job(name, script string) {
	c.t.Helper()
	grace := int64(1)
	pods := c.core.CoreV1().Pods(namespace)
	_, err := pods.Create(c.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{pai.LabelJob: name, pai.LabelUser: "ada"},
			Annotations: map[string]string{pai.AnnotationJobName: name},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyOnFailure, TerminationGracePeriodSeconds: &grace,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "main", Image: need(c.t, "PAI_E2E_IMAGE"), ImagePullPolicy: corev1.PullNever,
				Command: []string{"/busybox", "sh", "-c", script},
			}},
		},
	}, metav1.CreateOptions{})
	check(c.t, err)
	c.await("pod "+name+" runs", func() bool {
		p, err := pods.Get(c.t.Context(), name, metav1.GetOptions{})
		return err == nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Running != nil
	})
}

const forever = `i=0; while true; do i=$((i+1)); echo step $i; /busybox sleep 1; done`

func (c *testCluster) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited 60 s until %s", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *testCluster) witness(b *witness.Baseline) *witness.Witness {
	c.t.Helper()
	w, err := witness.Start(c.t.Context(), witness.StartOptions{
		REST: c.rest, Baseline: b,
		Machines: func(ctx context.Context, names []string) map[string]running.MachineReport {
			return running.Machines(ctx, map[string]machine.Host{c.host.Name(): c.host}, names)
		},
		Steps: func() []witness.Step { return []witness.Step{{ID: c.step.Load().(string), Everywhere: true}} },
	})
	check(c.t, err)
	return w
}

func (c *testCluster) container(name string) running.Container {
	c.t.Helper()
	list, err := running.Containers(c.t.Context(), c.host)
	check(c.t, err)
	for _, found := range list {
		if found.Namespace == namespace && found.Pod == name {
			return found
		}
	}
	c.t.Fatalf("container of %s not found on the machine: %+v", name, list)
	return running.Container{}
}

func (c *testCluster) kill(name string) {
	c.t.Helper()
	script := fmt.Sprintf("kill -9 %d", c.container(name).PID)
	_, err := c.host.Run(c.t.Context(), machine.Command{Script: script})
	check(c.t, err)
}

// TestReportNamesKilledContainer: one job runs, one ends, one is killed, and the pod
// of one is deleted.
func TestReportNamesKilledContainer(t *testing.T) {
	c := connect(t)
	c.space()
	c.job("runs", forever)
	c.job("ends", `/busybox sleep 20; exit 0`)
	c.job("killed", forever)
	c.job("deleted", forever)

	w := c.witness(nil)
	c.step.Store("quiet")
	time.Sleep(2 * time.Second)
	c.step.Store("kill")
	time.Sleep(1500 * time.Millisecond) // the API reports whole seconds
	c.kill("killed")
	c.await("the witness names the killed container", func() bool { return len(w.Interruptions()) == 1 })
	if got := w.Interruptions()[0].Job; got != "ada~killed" {
		t.Errorf("got job %s, want ada~killed", got)
	}
	time.Sleep(2 * time.Second)
	c.step.Store("delete")
	check(t, c.core.CoreV1().Pods(namespace).Delete(t.Context(), "deleted", metav1.DeleteOptions{}))
	c.await("the witness names the deleted pod", func() bool { return len(w.Interruptions()) == 2 })
	c.step.Store("end")
	c.await("the job ends", func() bool { return w.View().Jobs.Finished == 1 })
	r := w.Stop(t.Context())
	t.Logf("%+v", r)
	t.Logf("notes: %v", w.View().Notes)

	ours := func(i pai.ContainerEnd) bool { return strings.HasPrefix(i.Job, "ada~") }
	if len(r.Jobs.Interrupted) != 2 || !ours(r.Jobs.Interrupted[0]) || r.Jobs.Finished != 1 || r.Jobs.After < 1 {
		t.Fatalf("got %+v", r.Jobs)
	}
	for i, want := range []struct{ pod, step, cause string }{{"killed", "kill", "exit code 137"}, {"deleted", "delete", "its pod was deleted"}} {
		got := r.Jobs.Interrupted[i]
		if got.Pod != want.pod || got.Container != "main" || got.Machine != c.host.Name() || got.Step != want.step || !strings.Contains(got.Cause, want.cause) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if r.UnobservedSeconds != 0 {
		t.Errorf("got %v s unobserved, want 0", r.UnobservedSeconds)
	}
}

// TestWatchContinuesWithoutAPI kills a container during an API outage, and resumes
// with the baseline of an earlier witness.
func TestWatchContinuesWithoutAPI(t *testing.T) {
	c := connect(t)
	c.space()
	c.job("runs", forever)
	c.job("killed", forever)
	w := c.witness(nil)
	time.Sleep(4 * time.Second)
	c.step.Store("no API")
	time.Sleep(1500 * time.Millisecond)
	c.systemctl("stop")
	stopped := time.Now()
	t.Cleanup(func() { c.systemctl("start") })
	time.Sleep(2 * time.Second)
	c.kill("killed")
	time.Sleep(8 * time.Second)
	if s := w.View(); s.API.Since.IsZero() || s.Unobserved["API"] == "" && s.API.For(time.Now()) < 5*time.Second {
		t.Errorf("got %+v, want an API outage", s)
	}
	b := w.Baseline()
	first := w // its process would end here
	c.step.Store("after")
	second := c.witness(&b)
	c.systemctl("start")
	r := second.Stop(t.Context())
	outage := time.Since(stopped)
	first.Stop(t.Context())
	t.Logf("outage of at most %v: %+v", outage, r)
	killed := slices.IndexFunc(r.Jobs.Interrupted, func(i pai.ContainerEnd) bool { return i.Pod == "killed" })
	if len(r.Jobs.Interrupted) != 1 || killed != 0 || r.Jobs.Interrupted[0].Step != "no API" {
		t.Errorf("got %+v, want the killed container with the step in which it ended", r.Jobs)
	}
	if r.API.OutageSeconds < 8 || r.API.OutageSeconds > outage.Seconds()+1 || r.API.Kept.OutageSeconds < 8 {
		t.Errorf("got %+[2]v, want an outage of about %[1]v", outage, r.API)
	}
}

// systemctl stops or starts the API server of the machine and waits for it.
func (c *testCluster) systemctl(verb string) {
	c.t.Helper()
	ctx := context.WithoutCancel(c.t.Context())
	_, err := c.host.Run(ctx, machine.Command{Script: `
for u in a b; do
  if systemctl -q is-enabled pai-apiserver-$u 2>/dev/null; then systemctl ` + verb + ` pai-apiserver-$u; fi
done`})
	check(c.t, err)
	if verb == "start" {
		c.await("the API responds", func() bool {
			_, err := c.core.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
			return err == nil
		})
	}
}
