package rest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
)

const waitsForGPUs = "couldn't assign flavors to pod set worker: insufficient unused quota for memory in flavor default, 1000Mi more needed, insufficient unused quota for nvidia.com/gpu in flavor default, 2 more needed; " +
	"couldn't assign flavors to pod set ps: insufficient unused quota for nvidia.com/gpu in flavor default, 3 more needed"

// The words of Kueue become a sentence, whichever version says them.
func TestQuotaIsInPlainWords(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		waitsForGPUs: "it needs 3 GPUs and 1000 MiB of memory more than its virtual cluster has free; it starts when enough of that is free; a job that asks for less can start earlier",
		"couldn't assign flavors to pod set w: insufficient unused quota for cpu in flavor default, 500m more needed":                                                                               "it needs 0.5 cores more than",
		"couldn't assign flavors to pod set w: insufficient unused quota for cpu in flavor default, 1 more needed":                                                                                  "it needs 1 core more than",
		"couldn't assign flavors to pod set w: insufficient unused quota for pods in flavor default, 20 more needed":                                                                                "it needs 20 tasks more than",
		"couldn't assign flavors to pod set w: insufficient unused quota for example.com/x in flavor default, 2 more needed":                                                                        "it needs 2 example.com/x more than",
		"couldn't assign flavors to pod set w: insufficient quota for cpu in flavor default, request > maximum capacity (2 > 1)":                                                                    "it cannot start: its virtual cluster has 1 core in all",
		"couldn't assign flavors to pod set w: insufficient quota for memory in flavor default, previously considered podsets requests (0) + current podset request (3Gi) > maximum capacity (1Gi)": "it cannot start: its virtual cluster has 1024 MiB of memory in all",
		"The workload is\ndeactivated \x1b[2J": "The workload is deactivated [2J",
		strings.Repeat("long ", 1000):          "long long",
	} {
		c := NewCore(newMemory("default"), []string{"default"})
		got := c.quotaReason(t.Context(), &unstructured.Unstructured{Object: map[string]any{}}, message)
		if !strings.HasPrefix(got, want) || len(got) > maxReason {
			t.Errorf("%s\ngot  %s\nwant %s", message, got, want)
		}
	}
}

// holds adds a job that holds GPUs, and has a time limit if hours is not 0.
func (m *memory) holds(t *testing.T, user, name string, gpus string, hours int64, now time.Time) *unstructured.Unstructured {
	t.Helper()
	template := map[string]any{"parallelism": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "app",
		"resources": map[string]any{"requests": map[string]any{"nvidia.com/gpu": gpus}}}}}}}
	if hours > 0 {
		template["activeDeadlineSeconds"] = hours * 3600
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"metadata": map[string]any{"namespace": "pai-vc-default", "name": job.ObjectName(user, name),
			"labels":      map[string]any{"pai.dev/user": user, "pai.dev/virtual-cluster": "default", "pai.dev/job": job.ObjectName(user, name)},
			"annotations": map[string]any{"pai.dev/job-name": name}},
		"spec":   map[string]any{"suspend": false, "replicatedJobs": []any{map[string]any{"name": "w", "template": map[string]any{"spec": template}}}},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Suspended", "status": "False", "lastTransitionTime": now.Format(time.RFC3339)}}},
	}}
	if _, err := m.dynamic.Resource(job.JobSets).Namespace("pai-vc-default").Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return obj
}

// waits adds a job that waits for GPUs.
func (m *memory) waits(t *testing.T, user, name string, now time.Time) {
	t.Helper()
	obj := m.holds(t, user, name, "3", 0, now)
	obj.SetUID(types.UID("uid-" + name))
	_ = unstructured.SetNestedField(obj.Object, true, "spec", "suspend")
	if _, err := m.dynamic.Resource(job.JobSets).Namespace("pai-vc-default").Update(t.Context(), obj, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload",
		"metadata": map[string]any{"namespace": "pai-vc-default", "name": "jobset-" + name, "labels": map[string]any{labelJobUID: "uid-" + name}},
		"status":   map[string]any{"conditions": []any{map[string]any{"type": quotaReserved, "status": "False", "message": waitsForGPUs}}}}}
	if _, err := m.dynamic.Resource(workloads).Namespace("pai-vc-default").Create(t.Context(), w, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A message names the jobs that its reader can see, and says what they hold to who can read
// them. It reads the jobs once for many requests, and never fails the answer.
func TestWhoHoldsQuota(t *testing.T) {
	t.Parallel()
	m := newMemory("default")
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, h := range []struct {
		user, name, gpus string
		hours            int64
	}{{"ada", "small", "1", 0}, {"bob", "big", "8", 5}, {"bob", "next", "4", 2}, {"carl", "old", "2", 1}} {
		m.holds(t, h.user, h.name, h.gpus, h.hours, now)
	}
	m.waits(t, "ada", "mine", now)
	lists, fail := 0, false
	m.dynamic.(*dynamicfake.FakeDynamicClient).PrependReactor("list", "jobsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		lists++
		if fail {
			return true, nil, errors.New("no connection")
		}
		return false, nil, nil
	})
	ask := func(c *Core, caller Caller) string {
		t.Helper()
		s, err := c.Get(WithCaller(t.Context(), caller), JobID{"ada", "mine"})
		if err != nil || s.State != job.StateWaiting {
			t.Fatalf("%s, %v", s.State, err)
		}
		return s.Message
	}
	core := func(p identity.Policy) *Core {
		c := NewCore(m, []string{"default"}).WithPolicy(p)
		c.now = func() time.Time { return now.Add(90 * time.Minute) }
		return c
	}
	const lacks, helps = "in the queue: it needs 3 GPUs and 1000 MiB of memory more than its virtual cluster has free; ",
		"; it starts when enough of that is free; a job that asks for less can start earlier; a time limit ends one of these jobs by 2026-01-01 14:00:00 UTC"
	ada, boss := Caller{Name: "ada"}, Caller{Name: "boss", Admin: true}
	private, open := core(identity.Policy{}), core(identity.Policy{ListOthersJobs: true})
	for _, c := range []struct {
		core   *Core
		caller Caller
		want   string
	}{
		{private, ada, "ada~small (1 GPU) and 3 other jobs (14 GPUs) hold the rest"},
		{open, ada, "bob~big, bob~next, carl~old and 1 other job (1 GPU) hold the rest"},
		{private, boss, "bob~big (8 GPUs), bob~next (4 GPUs), carl~old (2 GPUs) and 1 other job (1 GPU) hold the rest"},
	} {
		if got := ask(c.core, c.caller); got != lacks+c.want+helps {
			t.Errorf("%s sees\n%s, want\n%s", c.caller.Name, got, lacks+c.want+helps)
		}
	}
	if lists != 2 {
		t.Errorf("the jobs were listed %d times, want once for each server", lists)
	}
	fail = true
	if got := ask(core(identity.Policy{}), ada); got != lacks+"it starts when enough of that is free; a job that asks for less can start earlier" {
		t.Errorf("without the list, the answer is %s", got)
	}
}

// The longest message is bounded, whatever the names.
func TestWhoHoldsIsBounded(t *testing.T) {
	t.Parallel()
	c := NewCore(newMemory(), nil)
	var all []held
	for range 1000 {
		h := held{amount: amount{name: gpuResource}}
		h.User, h.Name = strings.Repeat("u", 63), strings.Repeat("n", 255)
		all = append(all, h)
	}
	if got := c.whoHolds(Caller{Name: "boss", Admin: true}, all); len(got) > 1200 {
		t.Errorf("got %d bytes", len(got))
	}
}

// An answer does not wait for others who make lists.
func TestHoldersDoNotWait(t *testing.T) {
	t.Parallel()
	c := NewCore(newMemory("default"), []string{"default"})
	for range maxLists {
		c.lists <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := c.holdersIn(ctx, "default"); got != nil {
		t.Errorf("got %v", got)
	}
}
