//go:build e2e

package rest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// admission is one pair of controllers, as a release pins it.
type admission struct{ release, kueue, jobset string }

var admissions = []admission{{"v0.9", "v0.14.0", "v0.10.1"}, {"v0.10", "v0.15.0", "v0.12.0"}, {"v0.11", "v0.19.2", "v0.12.0"}}

// admissionOrder is the order of upgrades and rollbacks, as indexes of admissions. Only
// make test-all builds the bundle of v0.9.
func admissionOrder() []int {
	if os.Getenv("PAI_TEST_ALL") == "" {
		return []int{1, 2, 1, 2}
	}
	return []int{0, 1, 2, 1, 2, 0}
}

// TestAdmittedJobsOutliveEveryKueue takes running jobs through the real Kueue and JobSet of
// every release, in the order of upgrades and rollbacks, also of one over two releases. A
// Kueue that finds a JobSet not equivalent to its stored Workload suspends it. Each
// version stores Workloads, and reads those of all others.
func TestAdmittedJobsOutliveEveryKueue(t *testing.T) {
	w := newWorld(t, "default")
	c := newVersions(t, w)
	var running []JobID
	last := -1
	for i, at := range admissionOrder() {
		a := admissions[at]
		before := w.traces(t, running)
		t.Logf("release %s: Kueue %s, JobSet %s", a.release, a.kueue, a.jobset)
		c.replace(t, a)
		if last == 2 && at == 0 {
			w.storedAs(t, "v1beta1")
		}
		last = at
		if i == 0 {
			running = append(running, w.submitRecorded(t))
		}
		id := w.submitSmall(t, fmt.Sprintf("job-%d", i))
		w.runPods(t, id, 1) // so Kueue has started, and read all Workloads before
		running = append(running, id)
		for _, old := range running[:len(running)-1] {
			w.touch(t, old) // so it compares each again
		}
		next := w.submitSmall(t, fmt.Sprintf("next-%d", i))
		w.runPods(t, next, 1)
		time.Sleep(2 * time.Second) // what is wrong has time to show
		after := w.traces(t, running)
		for id, was := range before {
			if after[id] != was {
				t.Errorf("release %s: %s was\n%s\nis\n%s", a.release, id, was, after[id])
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	// Kueue still owns what it admitted: it frees the quota of a job that stops.
	admin := client(t, w.access)
	keeping, stopKeeping := context.WithCancel(t.Context())
	defer stopKeeping()
	go w.core.ReconcileStops(keeping, 500*time.Millisecond, func(err error) { t.Log("stops:", err) })
	for _, id := range running {
		if err := admin.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.endPods(t, id, 143)
		w.is(t, id, job.StateStopped)
		eventually(t, "the quota of "+id.String()+" is free", func() string {
			for _, wl := range w.workloadsOf(t, id) {
				if _, admitted, _ := unstructured.NestedMap(wl.Object, "status", "admission"); admitted {
					return "it is admitted"
				}
			}
			return ""
		})
	}
}

// newVersions prepares a cluster for several versions of the controllers. The API server
// calls their conversion, with the certificates that they expect.
func newVersions(t *testing.T, w *world) *controllers {
	t.Helper()
	c := prepareControllers(t, w)
	key, err := rsa.GenerateKey(rand.Reader, 2048) // of this kind and name the rotator of Kueue expects it
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "kueue-ca"}, key)
	if err != nil {
		t.Fatal(err)
	}
	c.ca.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	if c.ca.key, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		t.Fatal(err)
	}
	if c.certs, err = newServerCert(c.ca, []string{"127.0.0.1", "unused-webhook-service.pai-system.svc"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(c.dir, "tls.crt"), c.certs.cert)
	writeFile(t, filepath.Join(c.dir, "tls.key"), c.certs.key)
	secret := map[string]any{}
	for key, value := range map[string][]byte{"ca.crt": c.ca.cert, "ca.key": c.ca.key, "tls.crt": c.certs.cert, "tls.key": c.certs.key} {
		secret[key] = base64.StdEncoding.EncodeToString(value)
	}
	apply(t, w, []*unstructured.Unstructured{namespace(pai.SystemNamespace),
		{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "unused", "namespace": pai.SystemNamespace}, "data": secret}}})
	w.cluster.StartControllers()
	return c
}

// replace does what an upgrade or a rollback of the services does: the definitions first,
// then the programs, then the queues.
func (c *controllers) replace(t *testing.T, a admission) {
	t.Helper()
	kinds := slices.Concat(moduleDefinitions(t, "sigs.k8s.io/jobset", a.jobset), moduleDefinitions(t, "sigs.k8s.io/kueue", a.kueue))
	for _, o := range kinds {
		c.setConversion(t, o)
	}
	apply(t, c.world, kinds)
	c.stop("jobset")
	c.start(t, "sigs.k8s.io/jobset", a.jobset, jobsetConfig)
	c.stop("kueue")
	c.start(t, "sigs.k8s.io/kueue", a.kueue, strings.Replace(kueueConfig, baseGates, gatesFor(t, a), 1))
	objs, err := kube.Decode([]byte(strings.ReplaceAll(ground, "v1beta2", "v1beta1"))) // as services/kueue has them
	if err != nil {
		t.Fatal(err)
	}
	objs = slices.DeleteFunc(objs, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Secret" })
	apply(t, c.world, objs)
}

// convertedKinds are those that the chart gives a conversion.
var convertedKinds = []string{"clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads"}

func (c *controllers) setConversion(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	conversion := map[string]any{"strategy": "None"}
	versions, _, err := unstructured.NestedSlice(o.Object, "spec", "versions")
	plural, _, _ := unstructured.NestedString(o.Object, "spec", "names", "plural")
	if len(versions) > 1 && slices.Contains(convertedKinds, plural) {
		conversion = map[string]any{"strategy": "Webhook", "webhook": map[string]any{"conversionReviewVersions": []any{"v1"},
			"clientConfig": map[string]any{"url": fmt.Sprintf("https://127.0.0.1:%d/convert", c.port(t, "kueue")), "caBundle": base64.StdEncoding.EncodeToString(c.ca.cert)}}}
	}
	if err := errors.Join(err, unstructured.SetNestedMap(o.Object, conversion, "spec", "conversion")); err != nil {
		t.Fatal(err)
	}
}

// moduleDefinitions reads the definitions of the kinds of a version.
func moduleDefinitions(t *testing.T, module, version string) []*unstructured.Unstructured {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", module+"@"+version)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	var found struct{ Dir string }
	if err := errors.Join(err, json.Unmarshal(out, &found)); err != nil {
		t.Fatalf("%s@%s: %v", module, version, err)
	}
	files, err := filepath.Glob(filepath.Join(found.Dir, "config/components/crd/bases/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions in %s: %v", found.Dir, err)
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
		all = append(all, objs...)
	}
	return all
}

var gateLine = regexp.MustCompile(`(?m)^ {6}([A-Z]\w+: (?:true|false))$`)

const baseGates = "featureGates: {VisibilityOnDemand: false}\n" // of kueueConfig

// gatesFor are the feature gates that the release of the tree sets.
func gatesFor(t *testing.T, a admission) string {
	t.Helper()
	if a.release != "v0.11" {
		return baseGates
	}
	data, err := os.ReadFile(filepath.Join(root, "services/kueue/values.yaml.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var gates []string
	for _, m := range gateLine.FindAllStringSubmatch(string(data), -1) {
		gates = append(gates, m[1])
	}
	if len(gates) < 20 {
		t.Fatalf("got the gates %q", gates)
	}
	return "waitForPodsReady: {enable: false}\nfeatureGates: {" + strings.Join(gates, ", ") + "}\n"
}

// submitRecorded creates the JobSet that the REST server of v0.9 made.
func (w *world) submitRecorded(t *testing.T) JobID {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "test/older/testdata/booted/api/jobsets.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(data, &list); err != nil || len(list.Items) == 0 {
		t.Fatalf("%d JobSets: %v", len(list.Items), err)
	}
	var o unstructured.Unstructured
	if err := o.UnmarshalJSON(list.Items[0]); err != nil {
		t.Fatal(err)
	}
	metadata := map[string]any{"name": o.GetName(), "namespace": o.GetNamespace()}
	for _, field := range []string{"labels", "annotations"} {
		metadata[field], _, _ = unstructured.NestedFieldCopy(o.Object, "metadata", field)
	}
	o.Object["metadata"] = metadata
	unstructured.RemoveNestedField(o.Object, "status")
	if err := unstructured.SetNestedField(o.Object, true, "spec", "suspend"); err != nil {
		t.Fatal(err)
	}
	if err := w.cluster.Client.Create(t.Context(), &o); err != nil {
		t.Fatal(err)
	}
	id := JobID{o.GetLabels()[pai.LabelUser], o.GetAnnotations()[pai.AnnotationJobName]}
	w.runPods(t, id, 2)
	return id
}

func (w *world) submitSmall(t *testing.T, name string) JobID {
	t.Helper()
	text := fmt.Sprintf("protocolVersion: 2\nname: %s\ntype: job\nprerequisites: [{name: i, type: dockerimage, uri: a/b}]\n"+
		"taskRoles:\n  worker:\n    dockerImage: i\n    commands: [ls]\n    resourcePerInstance: {cpu: 0.01, memoryMB: 16, gpu: 0}\n", name)
	eventually(t, name+" is submitted", func() string { // a webhook of Kueue can be late
		_, err := client(t, w.access).Submit(t.Context(), Submission{Protocol: []byte(text)})
		if err != nil {
			return err.Error()
		}
		return ""
	})
	return JobID{AdminUser, name}
}

// touch makes the controllers look at a job again.
func (w *world) touch(t *testing.T, id JobID) {
	t.Helper()
	obj, err := w.core.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w.patch(t, obj, fmt.Sprintf(`{"metadata":{"annotations":{"test.pai.dev/touched":"%d"}}}`, time.Now().UnixNano()))
}

func (w *world) workloadsOf(t *testing.T, id JobID) []unstructured.Unstructured {
	t.Helper()
	obj, err := w.core.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.core.workloadsOf(t.Context(), obj)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// traces are what must not change for a running job, by job.
func (w *world) traces(t *testing.T, ids []JobID) map[JobID]string {
	t.Helper()
	traces := map[JobID]string{}
	for _, id := range ids {
		obj, err := w.core.find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		lines := []string{fmt.Sprintf("JobSet %s generation %d suspended %t", obj.GetUID(), obj.GetGeneration(), suspended(obj))}
		for _, p := range w.pods(t, id) {
			lines = append(lines, fmt.Sprintf("pod %s %s %s, deleted %t", p.Name, p.UID, p.Status.Phase, p.DeletionTimestamp != nil))
		}
		for _, wl := range w.workloadsOf(t, id) {
			admitted, _, _ := unstructured.NestedMap(wl.Object, "status", "admission")
			data, err := json.Marshal(admitted)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("Workload %s generation %d active %t admission %s", wl.GetUID(), wl.GetGeneration(), active(wl), data))
		}
		traces[id] = strings.Join(lines, "\n")
	}
	return traces
}

// storedAs wants every kind of Kueue to have that one version, served and stored.
func (w *world) storedAs(t *testing.T, version string) {
	t.Helper()
	list, err := w.cluster.Client.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Items {
		stored, _, _ := unstructured.NestedStringSlice(d.Object, "status", "storedVersions")
		if strings.HasSuffix(d.GetName(), ".kueue.x-k8s.io") && !slices.Equal(stored, []string{version}) {
			t.Errorf("%s: objects might be stored as %q, want %s", d.GetName(), stored, version)
		}
	}
}
