//go:build e2e

package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/kube/kubetest"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/service"
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

type world struct {
	cluster *kubetest.Cluster
	access  Access
	core    *Core // acts with the rights that the chart gives the server
}

// newWorld starts a control plane with the kinds and namespaces that jobs
// need, and the REST server on it, with the rights that its chart gives it.
func newWorld(t *testing.T, virtualClusters ...string) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{cluster: kubetest.Start(t)}
	cfg := &config.Config{}
	cfg.Services.RestServer.ServerPort = 9186
	cfg.Services.VirtualClusters = map[string]config.VirtualCluster{}
	objs := append(definitions(t, "jobset/v0.12.0", "sigs.k8s.io/jobset", "*jobsets.yaml"),
		definitions(t, "kueue/v0.15.0", "sigs.k8s.io/kueue", "*workloads.yaml")...)
	for _, vc := range virtualClusters {
		cfg.Services.VirtualClusters[vc] = config.VirtualCluster{}
		objs = append(objs, namespace(job.Namespace(vc)))
	}
	apply(t, w, objs)

	access, err := EnsureSecrets(ctx, w.cluster.Client, Bootstrap{Addresses: []string{"127.0.0.1"}, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	applyChart(t, w, cfg)
	asServer := clientrest.CopyConfig(w.cluster.Config)
	asServer.Impersonate.UserName = "system:serviceaccount:pai-system:rest-server"
	asServer.Impersonate.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	client, err := kube.FromConfig(asServer)
	if err != nil {
		t.Fatal(err)
	}
	client = client.WithPatience(5 * time.Second)
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
	data, err := os.ReadFile(filepath.Join(root, "releases/v0.10/release.yaml"))
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
	srv := &Server{Handler: &Handler{Service: w.core, Users: NewUsers(client), Log: log}, CertDir: dir, Log: log}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, l) }()
	t.Cleanup(func() { cancel(); <-ended })
	return "https://" + l.Addr().String()
}

// as is a client with a new user's token.
func (w *world) as(t *testing.T, name string) *Client {
	t.Helper()
	ctx := t.Context()
	secret, err := getSecret(ctx, w.cluster.Client, usersSecret)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := readDirectory(secret)
	if err != nil {
		t.Fatal(err)
	}
	fresh := newToken()
	dir.Users = append(dir.Users, user{Name: name, Tokens: []token{{SHA256: hashToken(fresh)}}})
	data, err := json.Marshal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := applySecret(ctx, w.cluster.Client, usersSecret, corev1.SecretTypeOpaque, map[string][]byte{usersKey: data}); err != nil {
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

func TestJobsOnARealAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default", "research")
	ctx := t.Context()
	admin := client(t, w.access)
	alice := w.as(t, "alice")

	text := protocol("train", "research")
	done, err := alice.Submit(ctx, Submission{Protocol: text})
	if err != nil {
		t.Fatal(err)
	}
	if want := (pai.JobRef{User: "alice", Name: "train", VirtualCluster: "research"}); done.JobRef != want || done.ID != "alice~train" {
		t.Errorf("submitted %+v", done)
	}
	id := JobID{"alice", "train"}

	t.Run("is kept as it was written", func(t *testing.T) {
		if got, err := admin.Protocol(ctx, id); err != nil || string(got) != string(text) {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("waits", func(t *testing.T) {
		got, err := alice.Get(ctx, id)
		if err != nil || got.State != job.StateWaiting || got.Tasks() != 2 || got.Namespace != "pai-vc-research" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("everybody sees it", func(t *testing.T) {
		for _, f := range []Filter{{}, {User: "alice"}, {VirtualCluster: "research"}, {State: job.StateWaiting}} {
			if jobs, err := admin.List(ctx, f); err != nil || len(jobs) != 1 || jobs[0].Name != "train" {
				t.Errorf("%+v: %+v, %v", f, jobs, err)
			}
		}
		for _, f := range []Filter{{User: "admin"}, {VirtualCluster: "default"}, {State: job.StateRunning}} {
			if jobs, err := admin.List(ctx, f); err != nil || len(jobs) != 0 {
				t.Errorf("%+v: %+v, %v", f, jobs, err)
			}
		}
	})
	t.Run("its name is taken, in every virtual cluster", func(t *testing.T) {
		for _, vc := range []string{"research", "default"} {
			if _, err := alice.Submit(ctx, Submission{Protocol: protocol("train", vc)}); pai.CodeOf(err) != pai.CodeConflict {
				t.Errorf("in %s: %v", vc, err)
			}
		}
		if _, err := admin.Submit(ctx, Submission{Protocol: protocol("train", "research")}); err != nil {
			t.Errorf("another user's: %v", err)
		}
	})
	t.Run("a bad one leaves nothing", func(t *testing.T) {
		_, err := alice.Submit(ctx, Submission{Protocol: []byte("name: x\nkind: job\n"), VirtualCluster: "nowhere"})
		var problems job.Problems
		if pai.CodeOf(err) != pai.CodeInvalid || !errors.As(err, &problems) || len(problems) < 4 {
			t.Errorf("%v", err)
		}
		if jobs, err := alice.List(ctx, Filter{User: "alice"}); err != nil || len(jobs) != 1 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}
	})
	t.Run("only its owner and admins stop it", func(t *testing.T) {
		bob := w.as(t, "bob")
		if err := bob.Stop(ctx, id); pai.CodeOf(err) != pai.CodeForbidden {
			t.Errorf("bob: %v", err)
		}
		if got, err := alice.Get(ctx, id); err != nil || got.State != job.StateWaiting {
			t.Errorf("after bob: %s, %v", got.State, err)
		}
	})
	t.Run("there is no other", func(t *testing.T) {
		if _, err := alice.Get(ctx, JobID{"alice", "nothing"}); pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("%v", err)
		}
		if err := alice.Stop(ctx, JobID{"alice", "nothing"}); pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("%v", err)
		}
		if _, err := alice.Logs(ctx, id, LogOptions{}); pai.CodeOf(err) != pai.CodeRefused {
			t.Errorf("logs of a waiting job: %v", err)
		}
		if _, err := alice.Logs(ctx, id, LogOptions{TaskRole: "ps"}); pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("logs of no task role: %v", err)
		}
	})
}

// The world as Kueue makes it is played here step by step; that Kueue does so
// is tested on a machine.
func TestStoppingOnARealAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	ctx := t.Context()
	admin := client(t, w.access)
	id := JobID{"admin", "train"}
	if _, err := admin.Submit(ctx, Submission{Protocol: protocol("train", "default")}); err != nil {
		t.Fatal(err)
	}
	obj, err := w.core.find(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	asKueue(t, w, obj)
	w.keep(t) // a job that nobody stops is left alone
	if got := w.workload(t, obj); !active(*got) {
		t.Fatal("the keeper deactivated a job that nobody stops")
	}

	if err := admin.Stop(ctx, id); err != nil {
		t.Fatal(err)
	}
	if got := w.workload(t, obj); active(*got) {
		t.Error("the workload is still active")
	}
	w.keep(t)
	if got := w.state(t, id); got != job.StateStopping {
		t.Errorf("state is %s while Kueue lets it run, want STOPPING", got)
	}
	if queue := w.queue(t, id); queue == "" {
		t.Error("it left its queue while it runs")
	}

	w.patch(t, obj, `{"spec":{"suspend":true}}`)
	w.keep(t)
	if got := w.state(t, id); got != job.StateStopped {
		t.Errorf("state is %s when suspended, want STOPPED", got)
	}
	if queue := w.queue(t, id); queue == "" {
		t.Error("it left its queue while its workload holds quota")
	}

	setQuota(t, w, obj, "False")
	w.keep(t)
	if queue := w.queue(t, id); queue != "" {
		t.Errorf("it is still in queue %q", queue)
	}
	if got := w.state(t, id); got != job.StateStopped {
		t.Errorf("state is %s at last, want STOPPED", got)
	}
	if err := admin.Stop(ctx, id); err != nil {
		t.Errorf("stopping it again: %v", err)
	}
	if _, err := admin.Submit(ctx, Submission{Protocol: protocol("train", "default")}); pai.CodeOf(err) != pai.CodeConflict {
		t.Errorf("its name is free: %v", err)
	}
}

// A stop survives the death of the server between its steps, and a Kueue that
// makes the workload only afterwards.
func TestStopIsFinishedByWhoeverIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	admin := client(t, w.access)
	id := JobID{"admin", "train"}
	if _, err := admin.Submit(t.Context(), Submission{Protocol: protocol("train", "default")}); err != nil {
		t.Fatal(err)
	}
	if err := admin.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	obj, err := w.core.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	asKueue(t, w, obj)
	w.keep(t)
	if got := w.workload(t, obj); active(*got) {
		t.Error("the workload that came late is active")
	}
}

func TestOneOfManyAtOnceGetsTheName(t *testing.T) {
	t.Parallel()
	vcs := []string{"default", "research", "teaching"}
	w := newWorld(t, vcs...)
	admin := client(t, w.access)
	for round := range 5 {
		name := fmt.Sprintf("race-%d", round)
		var wg sync.WaitGroup
		errs := make([]error, 2*len(vcs))
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = admin.Submit(t.Context(), Submission{Protocol: protocol(name, vcs[i%len(vcs)])})
			})
		}
		wg.Wait()
		accepted := 0
		for _, err := range errs {
			if err == nil {
				accepted++
			} else if pai.CodeOf(err) != pai.CodeConflict {
				t.Error(err)
			}
		}
		jobs, err := admin.List(t.Context(), Filter{})
		if err != nil {
			t.Fatal(err)
		}
		there := 0
		for _, j := range jobs {
			if j.Name == name {
				there++
			}
		}
		if accepted != 1 || there != 1 {
			t.Errorf("round %d: %d accepted, %d there", round, accepted, there)
		}
	}
}

func TestSecretsStayUnlessTheyMustChange(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t).Client
	ctx := t.Context()
	b := Bootstrap{Addresses: []string{"10.1.2.3"}, Port: 9186}
	first, err := EnsureSecrets(ctx, c, b)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"https://10.1.2.3:9186"}; !reflect.DeepEqual(first.URLs, want) || first.User != AdminUser || len(first.Token) < 40 {
		t.Errorf("access: %v, user %s, token of %d characters", first.URLs, first.User, len(first.Token))
	}
	cert := func() string {
		s, err := getSecret(ctx, c, tlsSecret)
		if err != nil {
			t.Fatal(err)
		}
		return string(s.Data[corev1.TLSCertKey])
	}
	before := cert()
	secret, err := getSecret(ctx, c, usersSecret)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(secret.Data[usersKey]), first.Token) {
		t.Error("the token itself is in the cluster")
	}

	b.Saved = first
	if again, err := EnsureSecrets(ctx, c, b); err != nil || !reflect.DeepEqual(again, first) || cert() != before {
		t.Errorf("changed by a second run: %v", err)
	}
	b.Saved = Access{}
	lost, err := EnsureSecrets(ctx, c, b)
	if err != nil || lost.Token == first.Token || string(lost.CA) != string(first.CA) || cert() != before {
		t.Errorf("after the access was lost: %v", err)
	}
	users := NewUsers(c)
	for _, token := range []string{first.Token, lost.Token} {
		if who, err := users.Caller(ctx, token); err != nil || who != (Caller{AdminUser, true}) {
			t.Errorf("%+v, %v", who, err)
		}
	}
	b.Addresses = append(b.Addresses, "10.1.2.4")
	if _, err := EnsureSecrets(ctx, c, b); err != nil || cert() == before {
		t.Errorf("the certificate does not cover a new address: %v", err)
	}
	before = cert()
	if _, err := ensureSecrets(ctx, c, b, time.Now().Add(leafLife*3/4)); err != nil || cert() == before {
		t.Errorf("the certificate was not renewed in time: %v", err)
	}
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
	if err := w.core.keepOnce(t.Context()); err != nil {
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
