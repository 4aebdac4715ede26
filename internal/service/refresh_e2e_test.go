//go:build e2e

package service

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/kube/kubetest"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// bundle is a release with services of the test's own.
type bundle struct {
	source
	files fs.FS
}

func (b bundle) Services() fs.FS { return b.files }

// scene is Prometheus as PAI's chart has it, on a real API.
type scene struct {
	t       *testing.T
	client  *kube.Client
	deps    Deps
	told    []string // by the last refresh
	release pai.Version
}

func newScene(t *testing.T, files fstest.MapFS) *scene {
	t.Helper()
	src := sources(t)[0]
	s := &scene{t: t, client: kubetest.Start(t).Client, release: src.manifest.Services.Version}
	s.deps = Deps{
		Config: testConfig(), Bundle: bundle{src, files}, Progress: t.Logf,
		Kube: func(context.Context) (*kube.Client, error) { return s.client, nil },
		Refreshed: func(_ context.Context, service string, changes kube.ChangeSet) error {
			for _, c := range changes {
				if c.Action != kube.Unchanged {
					s.told = append(s.told, service+": "+c.Object.String()+" "+string(c.Action))
				}
				if c.Restarted {
					s.told = append(s.told, "restarted "+c.Object.String())
				}
			}
			return nil
		},
	}
	if err := s.client.EnsureNamespace(t.Context(), pai.SystemNamespace); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) step(kind plan.Kind) (plan.Doer, plan.Step) {
	return Doers(s.deps)[kind], plan.Step{ID: plan.StepID("x/prometheus"), Kind: kind, Target: "prometheus", From: s.release, To: s.release}
}

func (s *scene) done(kind plan.Kind) bool {
	s.t.Helper()
	doer, step := s.step(kind)
	done, err := doer.Done(s.t.Context(), step)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func (s *scene) do(kind plan.Kind) {
	s.t.Helper()
	s.told = nil
	doer, step := s.step(kind)
	if err := doer.Do(s.t.Context(), step); err != nil {
		s.t.Fatal(err)
	}
}

// refresh wants a refresh to be due, to foretell the restarts that it makes,
// and to leave nothing to refresh.
func (s *scene) refresh(told ...string) {
	s.t.Helper()
	if s.done(plan.KindRefresh) {
		s.t.Fatal("nothing is to be refreshed")
	}
	doer, step := s.step(plan.KindRefresh)
	changes, err := doer.(plan.Differ).Diff(s.t.Context(), step)
	if err != nil {
		s.t.Fatal(err)
	}
	foretold := plan.Restarts(plan.Plan{Steps: []plan.Step{step}}, map[plan.StepID][]plan.Change{step.ID: changes})
	s.do(plan.KindRefresh)
	slices.Sort(s.told)
	slices.Sort(told)
	if !slices.Equal(s.told, told) {
		s.t.Errorf("it did\n  %s\nwant\n  %s", strings.Join(s.told, "\n  "), strings.Join(told, "\n  "))
	}
	var restarted []string
	for _, line := range s.told {
		if what, is := strings.CutPrefix(line, "restarted "); is {
			restarted = append(restarted, what)
		}
	}
	if !slices.Equal(foretold, restarted) {
		s.t.Errorf("it foretold restarts of %v, and restarted %v", foretold, restarted)
	}
	if !s.done(plan.KindRefresh) {
		s.t.Error("it is still to be refreshed")
	}
}

// rollOut does what controllers would: it reports every Deployment as rolled
// out, until the test ends or hold is closed.
func (s *scene) rollOut() {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	s.t.Cleanup(func() { cancel(); <-ended })
	api := s.client.Clientset().AppsV1().Deployments(pai.SystemNamespace)
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			list, err := api.List(ctx, metav1.ListOptions{})
			if err == nil {
				for _, d := range list.Items {
					if d.Status.ObservedGeneration == d.Generation {
						continue
					}
					d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
						Conditions: []appsv1.DeploymentCondition{
							{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
							{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"}}}
					_, _ = api.UpdateStatus(ctx, &d, metav1.UpdateOptions{}) // a conflict is tried again
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
}

// prometheus are the files of PAI's own service, with an object that is there
// only for some configurations.
func prometheus(t *testing.T) fstest.MapFS {
	files := fstest.MapFS{}
	copyInto(t, files, "prometheus", os.DirFS("../../services/prometheus"))
	for _, needed := range []string{"node-exporter", "kube-state-metrics"} {
		copyInto(t, files, needed, os.DirFS("../../services/"+needed))
	}
	files["prometheus/objects.yaml.tmpl"] = &fstest.MapFile{Data: []byte(`
{{- if gt .Config.Services.Prometheus.ScrapeInterval 50 }}
apiVersion: v1
kind: ConfigMap
metadata: {name: slow}
data: {slow: "yes"}
{{- end }}
`)}
	return files
}

// A refresh brings what the configuration changed, and no more; a workload is
// restarted only where its pods become others, and that is foretold.
func TestRefreshRestartsNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	s := newScene(t, prometheus(t))
	s.rollOut()
	if s.done(plan.KindRefresh) {
		t.Error("a service that was never started is in line")
	}
	s.do(plan.KindService)
	if !s.done(plan.KindService) || !s.done(plan.KindRefresh) {
		t.Fatal("the service was started, and is not as the configuration has it")
	}

	// Where it is reached: no pod changes.
	s.deps.Config.Services.Prometheus.Port++
	s.refresh("prometheus: Service pai-system/prometheus configured")

	// What it does: its pod must read the file anew. And something comes.
	s.deps.Config.Services.Prometheus.ScrapeInterval = 60
	s.refresh("prometheus: ConfigMap pai-system/prometheus configured", "prometheus: ConfigMap pai-system/slow created",
		"prometheus: Deployment pai-system/prometheus configured", "restarted Deployment pai-system/prometheus")
	s.deps.Config.Services.Prometheus.ScrapeInterval = config.DefaultScrapeInterval
	s.refresh("prometheus: ConfigMap pai-system/prometheus configured", "prometheus: ConfigMap pai-system/slow deleted",
		"prometheus: Deployment pai-system/prometheus configured", "restarted Deployment pai-system/prometheus")
}

// A refresh compares with what is in the cluster, not with what was applied
// last; and a service that is not ready is not refreshed for that.
func TestRefreshSeesTheCluster(t *testing.T) {
	t.Parallel()
	s := newScene(t, prometheus(t))
	s.rollOut()
	s.do(plan.KindService)
	ctx, core := t.Context(), s.client.Clientset()
	patch := func(text string) error {
		_, err := core.CoreV1().Services(pai.SystemNamespace).Patch(ctx, "prometheus", types.JSONPatchType, []byte(text), metav1.PatchOptions{FieldManager: "somebody"})
		return err
	}
	if err := patch(`[{"op": "replace", "path": "/spec/selector/app", "value": "mine"}]`); err != nil {
		t.Fatal(err)
	}
	if !s.done(plan.KindService) {
		t.Error("a start compares with the cluster as well, and this test is not needed")
	}
	s.refresh("prometheus: Service pai-system/prometheus configured")

	d, err := core.AppsV1().Deployments(pai.SystemNamespace).Get(ctx, "prometheus", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.Status.AvailableReplicas, d.Status.ReadyReplicas = 0, 0
	d.Status.Conditions[0].Status = corev1.ConditionFalse
	if _, err := core.AppsV1().Deployments(pai.SystemNamespace).UpdateStatus(ctx, d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.done(plan.KindService) || !s.done(plan.KindRefresh) {
		t.Error("what is not ready is refreshed, or a start takes it for started")
	}

	// An application that was cut short is gone on with.
	doer, step := s.step(plan.KindRefresh)
	want, err := doer.(refresher).wanted(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Apply(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + "prometheus"}); err != nil {
		t.Fatal(err)
	}
	if s.done(plan.KindRefresh) {
		t.Error("nobody goes on with an application that was cut short")
	}
}

// Deleting leaves the state of a service, its records gone; with the data
// nothing is left. Other services are not touched.
func TestDelete(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"prometheus/service.yaml": {Data: []byte("name: prometheus\njobImpact: none\nstate: cluster\n")},
		"prometheus/objects.yaml.tmpl": {Data: []byte(`
apiVersion: v1
kind: ConfigMap
metadata: {name: program}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {pai.dev/holds: state}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)},
	}
	s := newScene(t, files)
	ctx := t.Context()
	apply := func() {
		t.Helper()
		// Nobody binds claims here, so they never become ready.
		doer, step := s.step(plan.KindService)
		want, err := doer.(starter).wanted(ctx, step)
		if err != nil {
			t.Fatal(err)
		}
		if err := doer.(starter).remember(ctx, s.client, want, step.To); err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.Apply(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + "prometheus", Prune: true}); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		t.Helper()
		var names []string
		maps, err := s.client.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "pai.dev/service"})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range maps.Items {
			names = append(names, m.Name)
		}
		claims, err := s.client.Clientset().CoreV1().PersistentVolumeClaims(pai.SystemNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range claims.Items {
			names = append(names, c.Name)
		}
		records, err := listRecorded(ctx, s.client, "")
		if err != nil {
			t.Fatal(err)
		}
		for range records {
			names = append(names, "record")
		}
		return strings.Join(names, " ")
	}
	apply()
	if got := left(); got != "kept program data record" {
		t.Fatalf("there is %s", got)
	}
	wipe := func(on bool) (plan.Doer, plan.Step) {
		doer, step := s.step(plan.KindDelete)
		step.To, step.Wipe = "", on
		return doer, step
	}
	doer, step := wipe(false)
	if s.done(plan.KindDelete) {
		t.Error("it is deleted before it is")
	}
	if err := doer.Do(ctx, step); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "kept data" || !s.done(plan.KindDelete) {
		t.Errorf("without its data it was deleted, and %q is left; want kept and data", got)
	}

	// What only its program can let go of is not begun while it does not run.
	core := s.client.Clientset().CoreV1()
	finalizers := func(path string) {
		t.Helper()
		if _, err := core.ConfigMaps(pai.SystemNamespace).Patch(ctx, "kept", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+path+`}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	finalizers(`["prometheus.example/in-use"]`)
	doer, step = wipe(true)
	if err := doer.Do(ctx, step); err == nil || pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "ConfigMap pai-system/kept") {
		t.Errorf("deleting what only a stopped program can let go of gives %v", err)
	}
	if got := left(); got != "kept data" {
		t.Errorf("it was refused, and %q is left", got)
	}
	finalizers(`null`)
	letGo(t, s.client)
	if done, err := doer.Done(ctx, step); done || err != nil {
		t.Errorf("its data is there and counts as deleted: %v", err)
	}
	if err := doer.Do(ctx, step); err != nil {
		t.Fatal(err)
	}
	if done, err := doer.Done(ctx, step); !done || err != nil || left() != "" {
		t.Errorf("with its data it was deleted, and %q is left; %v", left(), err)
	}
	if inv, err := s.client.Inventory(ctx, inventoryPrefix+"prometheus"); err != nil || inv != nil {
		t.Errorf("its inventory is left: %v, %v", inv, err)
	}
}

// letGo takes off what the API puts on a claim for a controller that is not here.
func letGo(t *testing.T, client *kube.Client) {
	t.Helper()
	claims := client.Clientset().CoreV1().PersistentVolumeClaims(pai.SystemNamespace)
	if _, err := claims.Patch(t.Context(), "data", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What a release's programs write into the objects of its charts is not taken
// for a change to be undone: a refresh would else never find a service in line.
func TestChartsAreInLineOnceApplied(t *testing.T) {
	t.Parallel()
	client := kubetest.Start(t).Client
	for _, name := range []string{"kueue", "jobset"} {
		for place := range 2 {
			objs := chartObjects(t, name, place)
			opts := kube.ApplyOptions{Inventory: "test-" + name, Prune: true}
			if _, err := client.Apply(t.Context(), objs, opts); err != nil {
				t.Fatal(err)
			}
			inject(t, client, objs, newCA(t))
			changes, err := client.Diff(t.Context(), objs, opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range changes {
				if c.Action != plan.Kept {
					t.Errorf("%s of release %d: applied, and still %+v", name, place, c)
				}
			}
		}
	}
}
