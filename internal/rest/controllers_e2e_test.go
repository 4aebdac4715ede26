//go:build e2e

package rest

import (
	"archive/tar"
	"debug/buildinfo"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/test/freeport"
	"pai.dev/pai/test/kubetest"
)

// controllers are the programs that turn a JobSet into pods, on loopback.
type controllers struct {
	world    *world
	dir      string
	managers map[string]string // module@version → program
	running  map[string]*exec.Cmd
	ports    map[string]int // of their webhooks: the next version has the same
	certs    keyPair        // of their webhooks, signed by ca
	ca       keyPair
}

// newControllers makes the ground for one version of Kueue and JobSet: kinds, queues,
// a node.
func newControllers(t *testing.T, w *world, kueue string) *controllers {
	t.Helper()
	c := prepareControllers(t, w)
	kinds := definitions(t, "kueue/"+kueue, "sigs.k8s.io/kueue", "*.yaml")
	for _, o := range kinds {
		onlyStored(t, o)
	}
	apply(t, w, kinds)
	objs, err := kube.Decode([]byte(ground))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, w, objs)
	w.cluster.StartControllers()
	return c
}

// prepareControllers finds the programs, and makes their certificates.
func prepareControllers(t *testing.T, w *world) *controllers {
	t.Helper()
	c := &controllers{world: w, dir: t.TempDir(), running: map[string]*exec.Cmd{}, ports: map[string]int{}}
	c.managers = findManagers(t, c.dir)
	var err error
	if c.ca, err = newCA(time.Now()); err != nil {
		t.Fatal(err)
	}
	if c.certs, err = newServerCert(c.ca, []string{"127.0.0.1"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(c.dir, "tls.crt"), c.certs.cert)
	writeFile(t, filepath.Join(c.dir, "tls.key"), c.certs.key)
	writeFile(t, filepath.Join(c.dir, "kubeconfig"), w.cluster.Kubeconfig())
	return c
}

// port is the port of the webhooks of a program.
func (c *controllers) port(t *testing.T, name string) int {
	t.Helper()
	if c.ports[name] == 0 {
		c.ports[name] = freeport.Get(t)
	}
	return c.ports[name]
}

// onlyStored makes a kind served in the version that is stored, so that nothing asks
// for a conversion. Kueue does not start without a webhook for it.
func onlyStored(t *testing.T, definition *unstructured.Unstructured) {
	t.Helper()
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		version := v.(map[string]any)
		version["served"] = version["storage"]
	}
	webhook := map[string]any{"conversionReviewVersions": []any{"v1"}, "clientConfig": map[string]any{"url": "https://127.0.0.1:1/convert"}}
	err = errors.Join(unstructured.SetNestedSlice(definition.Object, versions, "spec", "versions"),
		unstructured.SetNestedMap(definition.Object, map[string]any{"strategy": "Webhook", "webhook": webhook}, "spec", "conversion"))
	if err != nil {
		t.Fatal(err)
	}
}

// ground is what the service kueue makes for a virtual cluster of 1 core, and
// a machine.
const ground = `
apiVersion: v1
kind: Namespace
metadata: {name: pai-vc-default, labels: {pai.dev/virtual-cluster: default}}
---
apiVersion: v1
kind: Node
metadata: {name: gpu-01}
---
apiVersion: v1
kind: Secret
metadata: {name: unused, namespace: pai-system}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: default}
spec: {}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: default}
spec:
  namespaceSelector: {matchLabels: {pai.dev/virtual-cluster: default}}
  resourceGroups:
    - coveredResources: [cpu, memory, ephemeral-storage]
      flavors: [{name: default, resources: [{name: cpu, nominalQuota: "1"}, {name: memory, nominalQuota: 1Ti}, {name: ephemeral-storage, nominalQuota: 1000Ti}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: jobs, namespace: pai-vc-default}
spec: {clusterQueue: default}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: pai-prod}
value: 100
`

// findManagers takes Kueue and JobSet out of what was built for bundles.
func findManagers(t *testing.T, dir string) map[string]string {
	t.Helper()
	layers, err := filepath.Glob(filepath.Join(kubetest.CacheDir(t), "programs", "*", "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for i, layer := range layers {
		program := filepath.Join(dir, fmt.Sprintf("manager-%d", i))
		if !extractManager(t, layer, program) {
			continue
		}
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range append(info.Deps, &info.Main) {
			if strings.HasPrefix(info.Path+"/", module.Path+"/") {
				found[module.Path+"@"+module.Version] = program
			}
		}
	}
	return found
}

func extractManager(t *testing.T, layer, file string) bool {
	t.Helper()
	f, err := os.Open(layer)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(h.Name) != "manager" || h.Typeflag != tar.TypeReg {
			continue
		}
		err = atomicfile.WithoutForks(func() error {
			out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
			if err != nil {
				return err
			}
			_, err = io.Copy(out, r)
			return errors.Join(err, out.Close())
		})
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
}

// start runs a manager with its configuration and points the API's admission
// at it.
func (c *controllers) start(t *testing.T, module, version, config string) {
	t.Helper()
	program := c.managers[module+"@"+version]
	if program == "" {
		t.Fatalf("no %s@%s was built, only %v: build the bundles first", module, version, c.managers)
	}
	name := filepath.Base(module)
	port := c.port(t, name)
	file := filepath.Join(c.dir, name+".yaml")
	writeFile(t, file, fmt.Appendf(nil, config+`
health: {healthProbeBindAddress: "127.0.0.1:0"}
metrics: {bindAddress: "127.0.0.1:0"}
leaderElection: {leaderElect: false}
webhook: {port: %d, certDir: %s, host: 127.0.0.1}
`, port, c.dir))
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--config="+file, "--kubeconfig="+filepath.Join(c.dir, "kubeconfig"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.running[name] = cmd
	t.Cleanup(func() { c.stop(name) })
	address := fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, name+" answers", func() string {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			data, _ := os.ReadFile(log.Name())
			return err.Error() + "\n" + string(data[max(0, len(data)-1500):])
		}
		conn.Close()
		return ""
	})
	apply(t, c.world, c.webhooks(name, address))
}

func (c *controllers) stop(name string) {
	if cmd := c.running[name]; cmd != nil {
		cmd.Process.Kill() // it may have ended by itself
		cmd.Wait()
		delete(c.running, name)
	}
}

// webhooks are those for JobSets, which both programs have under the same paths.
func (c *controllers) webhooks(name, address string) []*unstructured.Unstructured {
	webhook := func(kind, path string, operations ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": name},
			"webhooks": []any{map[string]any{
				"name": name + ".test.pai.dev", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
				"clientConfig": map[string]any{"url": "https://" + address + path, "caBundle": base64.StdEncoding.EncodeToString(c.ca.cert)},
				"rules": []any{map[string]any{
					"apiGroups": []any{"jobset.x-k8s.io"}, "apiVersions": []any{"v1alpha2"}, "resources": []any{"jobsets"}, "operations": operations,
				}},
			}},
		}}
	}
	return []*unstructured.Unstructured{
		webhook("MutatingWebhookConfiguration", "/mutate-jobset-x-k8s-io-v1alpha2-jobset", "CREATE"),
		webhook("ValidatingWebhookConfiguration", "/validate-jobset-x-k8s-io-v1alpha2-jobset", "CREATE", "UPDATE"),
	}
}

const (
	jobsetConfig = `apiVersion: config.jobset.x-k8s.io/v1alpha1
kind: Configuration
internalCertManagement: {enable: false}
`
	// Without dedicated certificates Kueue needs them in a fixed directory. Nothing
	// uses the certificates that it makes here.
	kueueConfig = `apiVersion: config.kueue.x-k8s.io/v1beta1
kind: Configuration
namespace: pai-system
internalCertManagement: {enable: true, webhookServiceName: unused-webhook-service, webhookSecretName: unused}
manageJobsWithoutQueueName: false
integrations: {frameworks: [jobset.x-k8s.io/jobset]}
featureGates: {VisibilityOnDemand: false}
`
)

// eventually waits until what says nothing any more.
func eventually(t *testing.T, what string, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after 90 s: %s", what, why)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// is waits for a job's state.
func (w *world) is(t *testing.T, id JobID, want job.State) job.Status {
	t.Helper()
	var s job.Status
	eventually(t, fmt.Sprintf("%s is %s", id, want), func() string {
		var err error
		if s, err = w.core.Get(t.Context(), id); err != nil {
			return err.Error()
		}
		if s.State == want {
			return ""
		}
		return fmt.Sprintf("%s: %s %+v", s.State, s.Message, s.TaskRoles)
	})
	return s
}
