package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// podCluster has the pods of one service.
type podCluster struct {
	pods      []kube.WorkloadPod
	err       error // of listing
	refuses   bool  // to restart
	looked    chan struct{}
	restarted []string
}

func (c *podCluster) WorkloadPods(_ context.Context, inventory string, _ []kube.Ref) ([]kube.WorkloadPod, error) {
	if c.looked != nil {
		c.looked <- struct{}{}
	}
	if inventory != "service-kueue" {
		return nil, fmt.Errorf("got inventory %s", inventory)
	}
	return c.pods, c.err
}

func (c *podCluster) RestartPod(_ context.Context, p kube.WorkloadPod) (bool, error) {
	c.restarted = append(c.restarted, p.Ref.Name)
	return !c.refuses, nil
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func crashed(name string) kube.WorkloadPod {
	return podWith(name, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 5m0s restarting failed container"}})
}

func hanging(name string, d time.Duration) kube.WorkloadPod {
	return podWith(name, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon.Add(-d))}})
}

func podWith(name string, s corev1.ContainerState) kube.WorkloadPod {
	return kube.WorkloadPodOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "manager", State: s}}}})
}

func TestStalledPodsAreRestartedOnce(t *testing.T) {
	t.Parallel()
	c := &podCluster{pods: []kube.WorkloadPod{crashed("a"), hanging("b", time.Hour), hanging("young", time.Minute)}}
	var said []string
	r := restarter{client: c, name: "kueue", state: "cluster", now: func() time.Time { return noon },
		progress: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	r.look(t.Context())
	r.look(t.Context()) // the pods that are being deleted are still listed
	if want := []string{"a", "b"}; !slices.Equal(c.restarted, want) {
		t.Errorf("got %v, want %v", c.restarted, want)
	}
	if len(said) != 2 || !strings.Contains(said[0], "kueue: restarted pod a: container manager waiting: CrashLoopBackOff: back-off 5m0s") || !strings.Contains(said[1], "1h0m0s") {
		t.Errorf("got %q, want the reason for each pod", said)
	}
	c.restarted = nil
	c.pods = []kube.WorkloadPod{crashed("a-again"), crashed("new")} // the pods that took their places are broken, too
	r.look(t.Context())
	if len(c.restarted) > 0 {
		t.Errorf("got %v restarted, want that a new pod is left alone", c.restarted)
	}
	r.now = func() time.Time { return noon.Add(5 * time.Minute) }
	c.pods = []kube.WorkloadPod{hanging("young", time.Minute)}
	if r.look(t.Context()); !slices.Equal(c.restarted, []string{"young"}) {
		t.Errorf("got %v, want the pod that has been running for long by now", c.restarted)
	}
}

// What exists at first is known only once it was listed.
func TestStalledPodsAreListedAgainAfterAnError(t *testing.T) {
	t.Parallel()
	c := &podCluster{pods: []kube.WorkloadPod{crashed("a")}, err: errors.New("no API server")}
	r := restarter{client: c, name: "kueue", state: "none", now: func() time.Time { return noon }, progress: t.Logf}
	r.look(t.Context())
	if c.err = nil; len(c.restarted) > 0 {
		t.Errorf("got %v restarted without a list", c.restarted)
	}
	c.refuses = true
	r.look(t.Context())
	r.look(t.Context()) // it changed while it was restarted
	if len(c.restarted) != 2 {
		t.Errorf("got %v, want another attempt", c.restarted)
	}
}

// A program that has a volume can read it for hours before it is ready.
func TestProgramsWithDataAreNotRestartedWhileTheyRun(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"volume:prometheus", ""} {
		c := &podCluster{pods: []kube.WorkloadPod{hanging("reads", time.Hour), crashed("ended")}}
		r := restarter{client: c, name: "kueue", state: state, now: func() time.Time { return noon }, progress: t.Logf}
		if r.look(t.Context()); !slices.Equal(c.restarted, []string{"ended"}) {
			t.Errorf("state %q: got %v, want only what does not run", state, c.restarted)
		}
	}
}

func TestRestartsEndWithTheStep(t *testing.T) {
	t.Parallel()
	c := &podCluster{}
	d := starter{Deps: Deps{Progress: t.Logf}}
	stop := d.restartStalled(t.Context(), c, plan.Step{Target: "kueue"}, wanted{})
	stop()
	c.pods = []kube.WorkloadPod{crashed("a")} // a race if it still looks
	if len(c.restarted) > 0 {
		t.Errorf("got %v", c.restarted)
	}
}

// A refresh names what it restarts before it does, and restarts nothing else.
func TestRefreshRestartsNoStalledPods(t *testing.T) {
	t.Parallel()
	for kind, want := range map[plan.Kind]bool{plan.KindService: true, plan.KindRefresh: false} {
		c := &podCluster{looked: make(chan struct{}, 9)}
		stop := starter{Deps: Deps{Progress: t.Logf}}.restartStalled(t.Context(), c, plan.Step{Kind: kind, Target: "kueue"}, wanted{})
		limit := 100 * time.Millisecond
		if want {
			limit = time.Minute
		}
		select {
		case <-c.looked:
			if !want {
				t.Errorf("%s: pods were looked at", kind)
			}
		case <-time.After(limit):
			if want {
				t.Errorf("%s: no pods were looked at", kind)
			}
		}
		stop()
	}
}

func TestErrorOfAnApplicationNamesPods(t *testing.T) {
	t.Parallel()
	cause := errors.New("an admission webhook is not responding yet")
	err := withUnready(cause, []kube.Unready{{Object: kube.Ref{Kind: "Deployment", Namespace: "pai-system", Name: "kueue"}, Reason: "Available: 0/1; pod kueue-1: container manager waiting: CrashLoopBackOff: back-off 5m0s"}})
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "pod kueue-1: container manager waiting: CrashLoopBackOff: back-off 5m0s") {
		t.Errorf("got %v", err)
	}
	if got := withUnready(cause, nil); !errors.Is(got, cause) || got.Error() != cause.Error() {
		t.Errorf("got %v", got)
	}
}
