//go:build e2e

package rest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
)

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
	t.Run("all users see it", func(t *testing.T) {
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

// The test plays Kueue step by step; TestJobLives has a real Kueue.
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
	w.keep(t) // a job without a stop stays as it is
	if got := w.workload(t, obj); !active(*got) {
		t.Fatal("a job without a stop was deactivated")
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
func TestAnyServerCompletesAStop(t *testing.T) {
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

func TestOneOfManySubmissionsGetsTheName(t *testing.T) {
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

// between does something between a submission's look and its creation.
type between struct {
	Cluster
	look func()
}

func (b between) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	if obj.GetKind() == "JobSet" { // its texts come before
		b.look()
	}
	return b.Cluster.Create(ctx, obj)
}

// The first may have been accepted before the second is there: then the second
// has to give way, whatever it is called and however alike their moments are.
func TestAcceptedJobKeepsItsName(t *testing.T) {
	t.Parallel()
	vcs := []string{"default", "research"}
	w := newWorld(t, vcs...)
	ctx := WithCaller(t.Context(), Caller{Name: "ann", VirtualClusters: vcs})
	for _, second := range vcs {
		for round := range 3 { // two in one second are likely, not sure
			name := fmt.Sprintf("late-%s-%d", second, round)
			var firstErr error
			late := *w.core
			late.cluster = between{w.core.cluster, func() {
				for _, first := range vcs {
					if first != second {
						_, firstErr = w.core.Submit(ctx, Submission{Protocol: protocol(name, first)})
					}
				}
			}}
			_, err := late.Submit(ctx, Submission{Protocol: protocol(name, second)})
			if firstErr != nil || pai.CodeOf(err) != pai.CodeConflict {
				t.Errorf("%s: the first: %v, the second: %v", name, firstErr, err)
			}
			there, err := w.core.named(ctx, JobID{"ann", name})
			if err != nil || len(there) != 1 || there[0].GetNamespace() == job.Namespace(second) {
				t.Errorf("%s: %d are there, %v", name, len(there), err)
			}
		}
	}
}

func TestEnsureSecretsChangesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t).Client
	ctx := t.Context()
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": pai.SystemNamespace},
	}}
	if _, err := c.Apply(ctx, []*unstructured.Unstructured{namespace}, kube.ApplyOptions{Inventory: "of-the-cluster"}); err != nil {
		t.Fatal(err)
	}
	b := Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}}
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
	for key, value := range secret.Data {
		if strings.Contains(string(value), first.Token) {
			t.Errorf("the token itself is in the cluster, in %s", key)
		}
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
	users := NewUsers(c, UsersByEntry, func(error) {})
	for _, token := range []string{first.Token, lost.Token} {
		if who, err := users.Caller(ctx, token); err != nil || who.Name != AdminUser || !who.Admin {
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
	if is, err := c.Clientset().CoreV1().Namespaces().Get(ctx, pai.SystemNamespace, metav1.GetOptions{}); err != nil ||
		is.Annotations[kube.AnnotationInventory] != "of-the-cluster" {
		t.Errorf("the namespace was taken from who made it: %v, %v", is.Annotations, err)
	}
}
