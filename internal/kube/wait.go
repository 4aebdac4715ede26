package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/poll"
)

const (
	pollEvery = 500 * time.Millisecond
	// DefaultWait bounds Wait if its context has no deadline.
	DefaultWait = 5 * time.Minute
	// reportEvery is the time between two reports of a wait.
	reportEvery = 15 * time.Second
)

// notFound is the reason of an object that does not exist.
const notFound = "not found"

// Unready is an object that is not ready, and why.
type Unready struct {
	Object Ref
	Reason string
	// Final is true if the object cannot become ready.
	Final bool
}

func (u Unready) String() string { return u.Object.String() + ": " + u.Reason }

// WaitError lists the objects that did not become ready in time.
type WaitError struct {
	Unready []Unready
	Total   int
	Waited  time.Duration
	Err     error // why the wait ended
}

func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d objects not ready after %s", len(e.Unready), e.Total, e.Waited.Round(time.Second))
	if e.Err != nil {
		fmt.Fprintf(&b, " (%v)", e.Err)
	}
	for _, u := range e.Unready {
		b.WriteString("\n  " + u.String())
	}
	return b.String()
}

func (e *WaitError) Unwrap() error { return e.Err }

// Wait waits until all objects, which were applied just now, are ready: workloads rolled
// out, definitions established, webhooks with a CA. It waits for the workloads first. Its
// error is a *WaitError with the reason for every object that it still waited for. Objects that are ready once they exist are
// not read again: Unready reads them.
func (c *Client) Wait(ctx context.Context, objs []*unstructured.Unstructured) error {
	return c.wait(ctx, slices.DeleteFunc(slices.Clone(objs), isReadyOnceItExists), readiness)
}

// isReadyOnceItExists reports whether no controller has to do anything for an object.
func isReadyOnceItExists(obj *unstructured.Unstructured) bool {
	switch r := RefOf(obj); r.Group {
	case "":
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "type")
		return r.Kind == "ConfigMap" || r.Kind == "Secret" || r.Kind == "ServiceAccount" || r.Kind == "Service" && kind != "LoadBalancer"
	case "rbac.authorization.k8s.io":
		return true
	case "networking.k8s.io":
		return r.Kind == "NetworkPolicy"
	case "scheduling.k8s.io":
		return r.Kind == "PriorityClass"
	case "admissionregistration.k8s.io":
		return r.Kind == "ValidatingAdmissionPolicyBinding"
	}
	return false
}

// A check returns why an object is not ready; nil if it is.
type check func(obj *unstructured.Unstructured) (*Unready, error)

func (c *Client) wait(ctx context.Context, objs []*unstructured.Unstructured, check check) error {
	wait := poll.Wait{For: "ready objects", Every: afterWatch}
	if _, bounded := ctx.Deadline(); !bounded {
		wait.Timeout = DefaultWait
	}
	start, lastReport := time.Now(), time.Now()
	pending := firstToAwait(refs(objs))
	var unready []Unready
	var readError error
	err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
		now, found, err := c.unready(ctx, pending, check, c.replaceBeside)
		if err == nil && len(now) == 0 && len(pending) < len(objs) {
			now, found, err = c.unready(ctx, refs(objs), check, c.replaceBeside) // all must be ready at the same time
		}
		if err != nil {
			if ctx.Err() == nil {
				readError = err
			}
			return false, poll.Final(err)
		}
		unready, pending = now, nil
		for _, u := range unready {
			if u.Final {
				return false, poll.Final(errFinal)
			}
			pending = append(pending, u.Object)
		}
		if len(unready) > 0 && time.Since(lastReport) > reportEvery {
			lastReport = time.Now()
			c.progress("waiting for %s", c.explained(ctx, unready)[0])
		}
		if len(unready) == 0 {
			return true, nil
		}
		if first := found[unready[0].Object.key()]; first != nil {
			if c.awaitReady(ctx, first, check) && len(unready) == 1 {
				pending = refs(objs) // it was the last one
			}
		} else {
			_ = poll.Sleep(ctx, pollEvery) // the wait looks at the context
		}
		return false, nil
	})
	switch {
	case err == nil, readError != nil, len(unready) == 0:
		return err
	case errors.Is(err, errFinal):
		err = nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = context.DeadlineExceeded
	}
	return &WaitError{Unready: c.explained(ctx, unready), Total: len(objs), Waited: time.Since(start), Err: err}
}

// firstToAwait are the workloads among objects, or all if there is none. Others are read when
// these are ready: most of them are as soon as they are applied, or once a workload runs.
func firstToAwait(objects []Ref) []Ref {
	if workloads := slices.DeleteFunc(slices.Clone(objects), func(r Ref) bool { return !isWorkload(r) }); len(workloads) > 0 {
		return workloads
	}
	return objects
}

// errFinal ends a wait for an object that cannot become ready.
var errFinal = errors.New("cannot become ready")

// Unready reads each object once and returns those that are not ready.
func (c *Client) Unready(ctx context.Context, objects []Ref) ([]Unready, error) {
	unready, _, err := c.unready(ctx, objects, readiness, nil)
	return unready, err
}

// unready also returns the objects that it read, by key. It passes a DaemonSet that waits for
// machines in maintenance to beside; nil only reads.
func (c *Client) unready(ctx context.Context, objects []Ref, check check, beside func(context.Context, rollout) error) (unready []Unready, found map[Ref]*unstructured.Unstructured, err error) {
	if found, err = c.readAll(ctx, objects); err != nil {
		return nil, nil, err
	}
	for _, r := range objects {
		obj := found[r.key()]
		if obj == nil {
			unready = append(unready, Unready{Object: r, Reason: notFound})
			continue
		}
		u, err := check(obj)
		if err != nil {
			return nil, nil, err
		}
		if u != nil && r.Kind == "DaemonSet" {
			r, err := c.rolloutOf(ctx, obj)
			if err == nil && r.ready {
				continue
			}
			if err == nil && beside != nil {
				err = beside(ctx, r)
			}
			if err != nil {
				return nil, nil, err
			}
		}
		if u != nil {
			unready = append(unready, *u)
		}
	}
	return unready, found, nil
}

// readiness is the check of Wait.
func readiness(obj *unstructured.Unstructured) (*Unready, error) {
	u, err := statusOf(obj)
	if u != nil || err != nil {
		return u, err
	}
	if reason := beyondKstatus(RefOf(obj), obj); reason != "" {
		return &Unready{Object: RefOf(obj), Reason: reason}, nil
	}
	return nil, nil
}

// statusOf is the check of kstatus. A definition is ready when the API server
// serves its kind.
func statusOf(obj *unstructured.Unstructured) (*Unready, error) {
	r := RefOf(obj)
	result, err := status.Compute(obj)
	if err != nil {
		return nil, fmt.Errorf("compute the status of %s: %w", r, err)
	}
	if result.Status == status.CurrentStatus {
		return nil, nil
	}
	final := result.Status == status.FailedStatus && r.Kind == "Job"
	return &Unready{Object: r, Reason: cmp.Or(result.Message, string(result.Status)), Final: final}, nil
}

// beyondKstatus checks objects that kstatus treats as ready once they exist.
func beyondKstatus(r Ref, obj *unstructured.Unstructured) string {
	switch r.Kind {
	case "ResourceQuota":
		return uncounted(obj)
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		webhooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
		for _, w := range webhooks {
			webhook, _ := w.(map[string]any)
			if !hasCA(webhook) {
				return fmt.Sprintf("webhook %v has no CA yet: its program has not set it", webhook["name"])
			}
		}
	case definitionKind:
		webhook, found, _ := unstructured.NestedMap(obj.Object, "spec", "conversion", "webhook")
		if found && !hasCA(webhook) {
			return "its conversion webhook has no CA yet: its program has not set it"
		}
	}
	// The queues of Kueue have this condition if they can admit jobs.
	if !isBuiltin(r.Group) {
		if c := condition(obj, "Active"); c != nil && c["status"] == "False" {
			return fmt.Sprintf("not active: %v: %v", c["reason"], c["message"])
		}
	}
	return ""
}

// uncounted names what a quota limits and Kubernetes has not counted yet. Until then,
// the API server refuses every new object that the quota limits.
func uncounted(quota *unstructured.Unstructured) string {
	hard, _, _ := unstructured.NestedMap(quota.Object, "spec", "hard")
	used, _, _ := unstructured.NestedMap(quota.Object, "status", "used")
	for _, name := range slices.Sorted(maps.Keys(hard)) {
		if _, ok := used[name]; !ok {
			return name + " are not counted yet"
		}
	}
	return ""
}

// hasCA is false only for a webhook that is a service in the cluster and has no
// CA, so that the API server cannot call it.
func hasCA(webhook map[string]any) bool {
	if _, isService, _ := unstructured.NestedMap(webhook, "clientConfig", "service"); !isService {
		return true
	}
	ca, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle")
	// Generated manifests have "\n" in base64 instead of nothing.
	return ca != "" && ca != "Cg=="
}

func condition(obj *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if c, _ := c.(map[string]any); c != nil && c["type"] == kind {
			return c
		}
	}
	return nil
}
