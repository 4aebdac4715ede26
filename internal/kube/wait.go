package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	pollEvery = 500 * time.Millisecond
	// DefaultWait bounds Wait when its context has no deadline.
	DefaultWait = 5 * time.Minute
	// sayEvery is how often a wait reports what it still waits for.
	sayEvery = 15 * time.Second
)

// Unready is an object that is not ready, and why.
type Unready struct {
	Object Ref
	Reason string
	// Final is true when waiting longer cannot help.
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

// Wait waits until all objects are ready: workloads rolled out, definitions
// established, webhooks able to be called. Its error is a *WaitError that
// names every object that is not, with the reason.
func (c *Client) Wait(ctx context.Context, objs []*unstructured.Unstructured) error {
	return c.wait(ctx, objs, readiness)
}

// A judge says of an object that exists why it is not ready; nil when it is.
type judge func(obj *unstructured.Unstructured) (*Unready, error)

func (c *Client) wait(ctx context.Context, objs []*unstructured.Unstructured, judge judge) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultWait)
		defer cancel()
	}
	start, lastSaid := time.Now(), time.Now()
	pending := refs(objs)
	var unready []Unready
	failure := func(cause error) error {
		return &WaitError{Unready: c.explained(ctx, unready), Total: len(objs), Waited: time.Since(start), Err: cause}
	}
	for {
		now, err := c.unready(ctx, pending, judge)
		if err != nil {
			if ctx.Err() != nil && len(unready) > 0 {
				return failure(context.Cause(ctx))
			}
			return err
		}
		unready = now
		if len(unready) == 0 && len(pending) == len(objs) {
			return nil
		}
		if len(unready) == 0 {
			// What was ready once may have become unready meanwhile: the last
			// look before success is at everything.
			pending = refs(objs)
			continue
		}
		pending = nil
		for _, u := range unready {
			if u.Final {
				return failure(nil)
			}
			pending = append(pending, u.Object)
		}
		if time.Since(lastSaid) > sayEvery {
			lastSaid = time.Now()
			c.progress("waiting for %s", c.explained(ctx, unready)[0])
		}
		select {
		case <-ctx.Done():
			return failure(context.Cause(ctx))
		case <-time.After(pollEvery):
		}
	}
}

// lookers is how many objects are looked at at the same time.
const lookers = 8

// Unready looks once at each object and returns those that are not ready.
func (c *Client) Unready(ctx context.Context, objects []Ref) ([]Unready, error) {
	return c.unready(ctx, objects, readiness)
}

func (c *Client) unready(ctx context.Context, objects []Ref, judge judge) ([]Unready, error) {
	found := make([]*Unready, len(objects)) // by place: no lock, and the order stays
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookers)
	for i, r := range objects {
		group.Go(func() error {
			obj, err := c.get(ctx, r)
			if err != nil {
				return err
			}
			if obj == nil {
				found[i] = &Unready{Object: r, Reason: "it does not exist"}
				return nil
			}
			found[i], err = judge(obj)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var unready []Unready
	for _, u := range found {
		if u != nil {
			unready = append(unready, *u)
		}
	}
	return unready, nil
}

// readiness is the judge of Wait.
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

// statusOf judges by kstatus alone; for a definition that is whether the API
// serves its kind.
func statusOf(obj *unstructured.Unstructured) (*Unready, error) {
	r := RefOf(obj)
	result, err := status.Compute(obj)
	if err != nil {
		return nil, fmt.Errorf("judge the status of %s: %w", r, err)
	}
	if result.Status == status.CurrentStatus {
		return nil, nil
	}
	final := result.Status == status.FailedStatus && r.Kind == "Job"
	return &Unready{Object: r, Reason: orWord(result.Message, string(result.Status)), Final: final}, nil
}

// beyondKstatus judges what kstatus takes for ready as soon as it exists.
func beyondKstatus(r Ref, obj *unstructured.Unstructured) string {
	switch r.Kind {
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		webhooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
		for _, w := range webhooks {
			webhook, _ := w.(map[string]any)
			if !hasCA(webhook) {
				return fmt.Sprintf("webhook %v has no certificate authority yet: its program has not filled it in", webhook["name"])
			}
		}
	case definitionKind:
		webhook, found, _ := unstructured.NestedMap(obj.Object, "spec", "conversion", "webhook")
		if found && !hasCA(webhook) {
			return "its conversion webhook has no certificate authority yet: its program has not filled it in"
		}
	}
	// Kueue's queues say with this condition whether they can admit anything.
	if !builtinGroups[r.Group] {
		if c := condition(obj, "Active"); c != nil && c["status"] == "False" {
			return fmt.Sprintf("not active: %v: %v", c["reason"], c["message"])
		}
	}
	return ""
}

// hasCA is false only for a webhook that is a service in the cluster and
// without whose certificate the API server cannot call it.
func hasCA(webhook map[string]any) bool {
	if _, isService, _ := unstructured.NestedMap(webhook, "clientConfig", "service"); !isService {
		return true
	}
	ca, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle")
	// "\n" in base64 is what generated manifests carry in place of none.
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

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func schemaResource(group, version, plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: plural}
}
