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
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/kubetest"
)

// bundle is a release with the services of a test.
type bundle struct {
	source
	files fs.FS
}

func (b bundle) Services() fs.FS { return b.files }

// scene is the Prometheus of PAI on a real API server.
type scene struct {
	t       *testing.T
	client  *kube.Client
	deps    Deps
	reports []string // of the last refresh
	release pai.ServicesVersion
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
					s.reports = append(s.reports, service+": "+c.Object.String()+" "+string(c.Action))
				}
				if c.Restarted {
					s.reports = append(s.reports, "restarted "+c.Object.String())
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
	return Doers(s.deps)[kind], plan.Step{ID: plan.StepID("x/prometheus"), Kind: kind, Target: "prometheus", From: pai.AnyVersion(s.release), To: pai.AnyVersion(s.release)}
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
	s.reports = nil
	doer, step := s.step(kind)
	if err := doer.Do(s.t.Context(), step); err != nil {
		s.t.Fatal(err)
	}
}

// refresh checks that a refresh is due, makes exactly these changes, predicts its
// restarts, and leaves nothing to refresh.
func (s *scene) refresh(want ...string) {
	s.t.Helper()
	if s.done(plan.KindRefresh) {
		s.t.Fatal("got nothing to refresh, want a change")
	}
	doer, step := s.step(plan.KindRefresh)
	changes, err := doer.(plan.Differ).Diff(s.t.Context(), step)
	if err != nil {
		s.t.Fatal(err)
	}
	predicted := plan.Restarts(plan.Plan{Steps: []plan.Step{step}}, map[plan.StepID][]plan.StepDiff{step.ID: changes})
	s.do(plan.KindRefresh)
	slices.Sort(s.reports)
	slices.Sort(want)
	if !slices.Equal(s.reports, want) {
		s.t.Errorf("got\n  %s\nwant\n  %s", strings.Join(s.reports, "\n  "), strings.Join(want, "\n  "))
	}
	var restarted []string
	for _, line := range s.reports {
		if what, is := strings.CutPrefix(line, "restarted "); is {
			restarted = append(restarted, what)
		}
	}
	if !slices.Equal(predicted, restarted) {
		s.t.Errorf("got restarts predicted of %v, want %v", predicted, restarted)
	}
	if !s.done(plan.KindRefresh) {
		s.t.Error("got a refresh that is still due, want none")
	}
}

// rollOut reports every Deployment as rolled out, in place of the controllers,
// until the test ends.
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
					_, _ = api.UpdateStatus(ctx, &d, metav1.UpdateOptions{}) // a conflict is retried
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
}

// prometheus are the files of the service, with an object that exists only for
// some configurations.
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

// A refresh applies only what the configuration changes. It restarts only the
// workloads whose pods change, and the plan shows these.
func TestRefreshRestartsOnlyChangedWorkloads(t *testing.T) {
	t.Parallel()
	s := newScene(t, prometheus(t))
	s.rollOut()
	if s.done(plan.KindRefresh) {
		t.Error("got no refresh for a service that was never started, want one")
	}
	s.do(plan.KindService)
	if !s.done(plan.KindService) || !s.done(plan.KindRefresh) {
		t.Fatal("got a started service that needs a refresh, want none")
	}

	// Another port changes no pod.
	s.deps.Config.Services.Prometheus.Port++
	s.refresh("prometheus: Service pai-system/prometheus configured")

	// Another interval restarts the pod, which must read the file again.
	s.deps.Config.Services.Prometheus.ScrapeInterval = 60
	s.refresh("prometheus: ConfigMap pai-system/prometheus configured", "prometheus: ConfigMap pai-system/slow created",
		"prometheus: Deployment pai-system/prometheus configured", "restarted Deployment pai-system/prometheus")
	s.deps.Config.Services.Prometheus.ScrapeInterval = config.DefaultScrapeInterval
	s.refresh("prometheus: ConfigMap pai-system/prometheus configured", "prometheus: ConfigMap pai-system/slow deleted",
		"prometheus: Deployment pai-system/prometheus configured", "restarted Deployment pai-system/prometheus")
}

// A refresh compares with the cluster, not with what was applied last. It is not
// due only because a service is not ready.
func TestRefreshComparesWithCluster(t *testing.T) {
	t.Parallel()
	s := newScene(t, prometheus(t))
	s.rollOut()
	s.do(plan.KindService)
	ctx, core := t.Context(), s.client.Clientset()
	patch := func(text string) error {
		_, err := core.CoreV1().Services(pai.SystemNamespace).Patch(ctx, "prometheus", types.JSONPatchType, []byte(text), metav1.PatchOptions{FieldManager: "operator"})
		return err
	}
	if err := patch(`[{"op": "replace", "path": "/spec/selector/app", "value": "mine"}]`); err != nil {
		t.Fatal(err)
	}
	if !s.done(plan.KindService) {
		t.Error("got a start that compares with the cluster, which makes this test useless")
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
		t.Error("got a refresh, or no start, of a service that is not ready; want only a start")
	}

	// An interrupted apply is continued.
	doer, step := s.step(plan.KindRefresh)
	want, err := doer.(refresher).wanted(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Apply(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + "prometheus"}); err != nil {
		t.Fatal(err)
	}
	if s.done(plan.KindRefresh) {
		t.Error("got no refresh after an interrupted apply, want one")
	}
}

// What the programs of a release write into the objects of its charts does not
// count as a change. Otherwise every refresh would be due.
func TestInjectedCertificatesNeedNoRefresh(t *testing.T) {
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
					t.Errorf("%s of release %d: got %+v after apply, want no change", name, place, c)
				}
			}
		}
	}
}
