package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
)

// A watch ends at the event that is enough, and not before its time otherwise. One that fails
// is followed by a pause.
func TestEachChange(t *testing.T) {
	t.Parallel()
	pod := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	for name, c := range map[string]struct {
		events func(w *watch.FakeWatcher)
		fails  bool
		want   time.Duration
	}{
		"enough at once":     {events: func(w *watch.FakeWatcher) { w.Modify(pod("enough")) }},
		"enough later":       {events: func(w *watch.FakeWatcher) { w.Modify(pod("a")); time.Sleep(time.Second); w.Modify(pod("enough")) }, want: time.Second},
		"never enough":       {events: func(w *watch.FakeWatcher) { w.Modify(pod("a")) }, want: watchFor},
		"cannot start":       {fails: true, want: pollEvery},
		"error of the API":   {events: func(w *watch.FakeWatcher) { w.Error(&metav1.Status{Code: 410}) }, want: pollEvery},
		"ended by the API":   {events: func(w *watch.FakeWatcher) { w.Stop() }, want: pollEvery},
		"ended after a wait": {events: func(w *watch.FakeWatcher) { time.Sleep(watchFor - time.Millisecond); w.Stop() }, want: watchFor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := func(_ context.Context, _ metav1.ListOptions) (watch.Interface, error) {
					if c.fails {
						return nil, errors.New("refused")
					}
					w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 9})
					go c.events(w)
					return w, nil
				}
				began := time.Now()
				eachChange(t.Context(), metav1.ListOptions{}, start, func(e watch.Event) bool { return e.Object.(*corev1.Pod).Name == "enough" })
				if took := time.Since(began); took != c.want {
					t.Errorf("took %s, want %s", took, c.want)
				}
			})
		})
	}
}

// The end of the last pod of an account ends the wait for it: that of another pod, a new pod,
// and a report that a pod still runs do not.
func TestEndOfPodsIsWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pod := func(name, account string) *corev1.Pod {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "a"}, Spec: corev1.PodSpec{ServiceAccountName: account}}
		}
		client := fake.NewClientset()
		pods := client.CoreV1().Pods("a")
		for _, p := range []*corev1.Pod{pod("first", "old"), pod("second", "old"), pod("other", "new")} {
			if _, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			for _, name := range []string{"other", "first", "second"} {
				time.Sleep(time.Second)
				if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}
		}()
		c := (&Client{clientset: client}).WithProgress(func(string, ...any) {})
		began := time.Now()
		err := c.awaitUnused(t.Context(), []Ref{{Version: "v1", Kind: "ServiceAccount", Namespace: "a", Name: "old"}})
		if took := time.Since(began); err != nil || took < 3*time.Second || took > 3*time.Second+2*afterWatch {
			t.Errorf("got %v after %s, want none right after the last pod ended", err, took)
		}
		lists := 0
		for _, a := range client.Actions() {
			if a.GetVerb() == "list" {
				lists++
			}
		}
		if lists > 2 {
			t.Errorf("the pods were listed %d times, want a watch instead", lists)
		}
	})
}
