package service

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

const (
	// stalledAfter is how long a program can run without being ready before it is
	// started again. Kueue waits for its certificates for up to two minutes.
	stalledAfter = 2 * time.Minute
	// stalledEvery is the pause between two looks: a kubelet that was kept out
	// reports what it has within ten seconds.
	stalledEvery = 5 * time.Second
)

// podRestarter is the part of kube.Client that restartStalled uses.
type podRestarter interface {
	WorkloadPods(ctx context.Context, inventory string, workloads []kube.Ref) ([]kube.WorkloadPod, error)
	RestartPod(ctx context.Context, p kube.WorkloadPod) (bool, error)
}

// restartStalled restarts pods of a service that an outage of the API server left
// behind, until stop is called: those that crashed until their kubelet starts them only
// every five minutes, and those whose program has stopped trying. Only pods that exist
// when the step starts are restarted, so one that is really broken is restarted once.
// A refresh restarts only what it announced.
func (d starter) restartStalled(ctx context.Context, client podRestarter, s plan.Step, want wanted) (stop func()) {
	if s.Kind == plan.KindRefresh {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		r := restarter{client: client, name: s.Target, state: want.service.State, refs: want.refs(), progress: d.Progress, now: time.Now}
		for ctx.Err() == nil {
			r.look(ctx)
			_ = poll.Sleep(ctx, stalledEvery) // the loop looks at the context
		}
	})
	return func() { cancel(); done.Wait() }
}

// restarter restarts the stalled pods of one service.
type restarter struct {
	client   podRestarter
	name     string // of the service
	state    string // that the service has; empty if it is unknown
	refs     []kube.Ref
	progress func(format string, args ...any)
	now      func() time.Time

	known map[types.UID]bool // the pods that existed at first; nil until they were listed
}

// look restarts what is stalled now. What cannot be read is looked at the next time:
// the step itself reports an API server that is not responding.
func (r *restarter) look(ctx context.Context) {
	pods, err := r.client.WorkloadPods(ctx, inventoryPrefix+r.name, r.refs)
	if err != nil {
		return
	}
	if r.known == nil {
		r.known = map[types.UID]bool{}
		for _, p := range pods {
			r.known[p.UID] = true
		}
	}
	unready := time.Duration(0) // it might be reading its data
	if r.state == "none" || r.state == "cluster" {
		unready = stalledAfter
	}
	for _, p := range pods {
		reason := p.Stalled(r.now(), unready)
		if reason == "" || !r.known[p.UID] {
			continue
		}
		restarted, err := r.client.RestartPod(ctx, p)
		if err == nil && restarted {
			delete(r.known, p.UID)
			r.progress("%s: restarted pod %s: %s", r.name, p.Ref.Name, reason)
		}
	}
}

// withUnready adds the reasons of a service's pods to an error of its application.
func withUnready(err error, unready []kube.Unready) error {
	if len(unready) == 0 {
		return err
	}
	var reasons []string
	for _, u := range unready {
		reasons = append(reasons, u.String())
	}
	return fmt.Errorf("%w; %s", err, strings.Join(reasons, "; "))
}
