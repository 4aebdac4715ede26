//go:build e2e

package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/test/kubetest"
)

const root = "../.."

// definitions reads the definitions of the kinds that a component brings.
func definitions(t *testing.T, component, module, pattern string) []*unstructured.Unstructured {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = filepath.Join(root, "components", component)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "config/components/crd/bases", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions %s: %v", pattern, err)
	}
	var all []*unstructured.Unstructured
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		objs, err := kube.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objs {
			// There is no Kueue to convert anything.
			unstructured.RemoveNestedField(o.Object, "spec", "conversion")
			all = append(all, o)
		}
	}
	return all
}

// images stands for a bundle of the newest release.
type images struct{ manifest release.Manifest }

func (i images) Manifest() release.Manifest { return i.manifest }
func (i images) Image(name string) string   { return "pai.local/" + name + ":test" }

// granted are the virtual clusters with a grant.
var granted = map[string]config.VirtualCluster{"debug": {Capabilities: []string{"SYS_PTRACE"}}}

type world struct {
	cluster *kubetest.Cluster
	access  Access
	core    *Core // acts with the rights that the chart gives the server

	virtualClusters []string
}

// newWorld starts a control plane with the kinds and namespaces that jobs
// need, and the REST server on it, with the rights that its chart gives it.
func newWorld(t *testing.T, virtualClusters ...string) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{cluster: kubetest.Start(t), virtualClusters: virtualClusters}
	cfg := &config.Config{}
	cfg.Services.RestServer.ServerPort = 9186
	cfg.Services.VirtualClusters = map[string]config.VirtualCluster{}
	objs := append(definitions(t, "jobset/v0.12.0", "sigs.k8s.io/jobset", "*jobsets.yaml"),
		definitions(t, "kueue/v0.19.2", "sigs.k8s.io/kueue", "*workloads.yaml")...)
	objs = append(objs, definitions(t, "kueue/v0.19.2", "sigs.k8s.io/kueue", "*clusterqueues.yaml")...)
	for _, vc := range virtualClusters {
		cfg.Services.VirtualClusters[vc] = granted[vc]
		objs = append(objs, namespace(job.Namespace(vc)))
	}
	apply(t, w, objs)

	access, err := EnsureSecrets(ctx, w.cluster.Client, Bootstrap{Endpoint: Endpoint{Addresses: []string{"127.0.0.1"}, Port: 1}})
	if err != nil {
		t.Fatal(err)
	}
	applyChart(t, w, cfg)
	asServer := clientrest.CopyConfig(w.cluster.Config)
	asServer.Impersonate.UserName = "system:serviceaccount:pai-system:rest-api"
	asServer.Impersonate.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	client, err := kube.FromConfig(asServer)
	if err != nil {
		t.Fatal(err)
	}
	client = client.WithRetryTimeout(5 * time.Second)
	w.core = NewCore(client, virtualClusters)
	w.access = access
	w.access.URLs = []string{w.serve(t, client)}
	return w
}

func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
}

func apply(t *testing.T, w *world, objs []*unstructured.Unstructured) {
	t.Helper()
	if _, err := w.cluster.Client.Apply(t.Context(), objs, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
}

func applyChart(t *testing.T, w *world, cfg *config.Config) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "releases/v0.11/release.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objs, err := kube.Decode(data) // the manifest has the form of an object
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(objs[0].Object)
	if err != nil {
		t.Fatal(err)
	}
	var src images
	if err := json.Unmarshal(raw, &src.manifest); err != nil {
		t.Fatal(err)
	}
	services, err := service.Catalog(os.DirFS(filepath.Join(root, "services")))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		if s.Name != "rest-server" {
			continue
		}
		objs, err := service.Render(t.Context(), s, cfg, src)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, w, objs)
		return
	}
	t.Fatal("there is no service rest-server")
}

func (w *world) serve(t *testing.T, client *kube.Client) string {
	t.Helper()
	secret, err := w.cluster.Client.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(t.Context(), tlsSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "tls.crt"), secret.Data[corev1.TLSCertKey])
	writeFile(t, filepath.Join(dir, "tls.key"), secret.Data[corev1.TLSPrivateKeyKey])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	users := NewUsers(client, UsersByEntry, func(error) {}).WithVirtualClusters(w.virtualClusters)
	handler := &Handler{Jobs: w.core, Users: users, Log: log, Logins: NewLogins(users.Accounts(client)), Cluster: w.core, LinkKey: users.LinkKey(client)}
	srv := &Server{Handler: handler, CertDir: dir, Log: log}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, l) }()
	t.Cleanup(func() { cancel(); <-ended })
	return "https://" + l.Addr().String()
}

// as is a client with the token of a new user, who can use all virtual clusters.
func (w *world) as(t *testing.T, name string) *Client {
	t.Helper()
	ctx := t.Context()
	secret, err := getSecret(ctx, w.cluster.Client, usersSecret)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := readDirectory(secret, formOf(secret))
	if err != nil {
		t.Fatal(err)
	}
	fresh := newToken()
	dir.Users = append(dir.Users, user{Name: name, Tokens: []token{{SHA256: hashToken(fresh)}}, account: &account{Groups: w.virtualClusters}})
	data, err := dir.encode(formOf(secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := applySecret(ctx, w.cluster.Client, usersSecret, corev1.SecretTypeOpaque, data); err != nil {
		t.Fatal(err)
	}
	access := w.access
	access.Token = fresh
	c := client(t, access)
	deadline := time.Now().Add(2 * usersFreshFor)
	for {
		_, err := c.List(ctx, Filter{})
		if err == nil {
			return c
		}
		if pai.CodeOf(err) != pai.CodeForbidden || time.Now().After(deadline) {
			t.Fatalf("user %s is not let in: %v", name, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func protocol(name, vc string) []byte {
	return fmt.Appendf(nil, `protocolVersion: 2
name: %s
type: job
prerequisites:
  - {name: image, type: dockerimage, uri: pai.local/example:v1}
taskRoles:
  worker:
    instances: 2
    dockerImage: image
    resourcePerInstance: {cpu: 0.1, memoryMB: 32, gpu: 0}
    commands: [sleep 1]
defaults: {virtualCluster: %s}
`, name, vc)
}

// asKueue does what Kueue does when it admits a job.
func asKueue(t *testing.T, w *world, obj *unstructured.Unstructured) {
	t.Helper()
	template, _, err := unstructured.NestedSlice(obj.Object, "spec", "replicatedJobs")
	if err != nil {
		t.Fatal(err)
	}
	pod, _, err := unstructured.NestedMap(template[0].(map[string]any), "template", "spec", "template")
	if err != nil {
		t.Fatal(err)
	}
	workload := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload",
		"metadata": map[string]any{
			"name": "jobset-" + obj.GetName(), "namespace": obj.GetNamespace(),
			"labels": map[string]any{labelJobUID: string(obj.GetUID())},
		},
		"spec": map[string]any{
			"queueName": job.QueueName,
			"podSets":   []any{map[string]any{"name": "worker", "count": int64(2), "template": pod}},
		},
	}}
	if err := w.cluster.Client.Create(t.Context(), workload); err != nil {
		t.Fatal(err)
	}
	setQuota(t, w, obj, "True")
	w.patch(t, obj, `{"spec":{"suspend":false}}`)
}

func setQuota(t *testing.T, w *world, obj *unstructured.Unstructured, status string) {
	t.Helper()
	wl := w.workload(t, obj)
	conditions := []any{map[string]any{"type": quotaReserved, "status": status, "reason": "Test", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"}}
	if err := unstructured.SetNestedSlice(wl.Object, conditions, "status", "conditions"); err != nil {
		t.Fatal(err)
	}
	_, err := w.cluster.Client.Dynamic().Resource(workloads).Namespace(wl.GetNamespace()).UpdateStatus(t.Context(), wl, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) workload(t *testing.T, obj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	wl, err := w.cluster.Client.Dynamic().Resource(workloads).Namespace(obj.GetNamespace()).Get(t.Context(), "jobset-"+obj.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return wl
}

func (w *world) patch(t *testing.T, obj *unstructured.Unstructured, change string) {
	t.Helper()
	if err := w.cluster.Client.Patch(t.Context(), kube.RefOf(obj), []byte(change)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) keep(t *testing.T) {
	t.Helper()
	if err := w.core.reconcileStops(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) state(t *testing.T, id JobID) job.State {
	t.Helper()
	s, err := w.core.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s.State
}

func (w *world) queue(t *testing.T, id JobID) string {
	t.Helper()
	obj, err := w.core.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return obj.GetLabels()[job.LabelQueue]
}
