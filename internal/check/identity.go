package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// clusterID holds the configuration's id against what the control-plane
// machine records and what the API says.
func clusterID(ctx context.Context, w *world) []Result {
	want := w.Config.Services.Cluster.Common.ClusterID
	if !w.kubernetesRuns() {
		return sameID(want, w.World.ClusterID, "", nil)
	}
	inAPI, err := w.api.clusterID.get(ctx)
	return sameID(want, w.World.ClusterID, inAPI, err)
}

func sameID(want, recorded, inAPI string, err error) []Result {
	const fix = "see which configuration -p names: it is that of another cluster"
	switch {
	case recorded != "" && recorded != want:
		return []Result{failed("", fix, "the machines are those of cluster %q, and the configuration is for %q", recorded, want)}
	case inAPI != "" && inAPI != want:
		return []Result{failed("", fix, "the API is that of cluster %q, and the configuration is for %q", inAPI, want)}
	case err != nil && recorded == "":
		return []Result{unknown("", err)}
	case recorded == "":
		return []Result{okay("", "the machines carry no cluster yet")}
	default:
		return []Result{okay("", "cluster %q", want)}
	}
}

func readClusterID(ctx context.Context, c apiClient) (string, error) {
	cm, err := c.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).Get(ctx, pai.ClusterConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which cluster this is: %w", err)
	}
	return cm.Data["clusterId"], nil
}

// configuration: the files as such were checked when they were read. What is
// left is whether the target's services can be made from them.
func configuration(ctx context.Context, w *world) []Result {
	objects, err := w.targets.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	var all []Result
	for _, p := range objects.Problems {
		all = append(all, failed(p.Service, "mend the configuration, or take a release that knows it", "%v", p.Err))
	}
	if len(all) == 0 {
		all = append(all, okay("", "release %s makes %d objects from it", w.Target.Metadata.Name, len(objects.Objects)))
	}
	// An older schema is read as well; an upgrade's first step moves the files.
	if have, want := w.Config.Layout.SchemaVersion, w.Target.Configuration.Schema; have < want {
		all = append(all, okay("", "its files have schema %d, and release %s has %d: an upgrade moves them first", have, w.Target.Metadata.Name, want))
	}
	return all
}

// supportPlan: the way does not depend on bundles, so it is told also where
// the steps could not be planned for want of one.
func supportPlan(_ context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	p, err := w.Plan, w.PlanErr
	if err != nil && pai.CodeOf(err) != pai.CodeRefused {
		var way plan.HopList
		way, err = plan.Offline(w.Releases, w.World.Current, plan.Target{Release: w.Target.Metadata.Name})
		p = plan.Plan{Hops: way.Hops, Notes: way.Notes}
	}
	return []Result{supported(p, err, string(w.Target.Metadata.Name))}
}

func supported(p plan.Plan, err error, to string) Result {
	var e *pai.Error
	switch {
	case errors.As(err, &e) && e.Code == pai.CodeRefused:
		return failed("", e.Next, "%v", err)
	case err != nil:
		return unknown("", err)
	case len(p.Notes) > 0:
		return warning("", "upgrade: the first hop mends it", "%s", strings.Join(p.Notes, "; "))
	case len(p.Hops) == 0:
		return okay("", "release %s is what runs", to)
	default:
		var hops []string
		for _, h := range p.Hops {
			hops = append(hops, fmt.Sprintf("%s %s → %s", h.Kind, h.From, h.To))
		}
		return okay("", "%s", strings.Join(hops, ", "))
	}
}

// operation: nobody else is at work, and nothing was left half-done that goes
// elsewhere.
func operation(ctx context.Context, w *world) []Result {
	o, err := w.Operation(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	return []Result{under(o, w.Pair)}
}

func under(o Operation, to pai.Pair) Result {
	left := o.Unfinished
	switch {
	case o.Holder != "":
		return failed("", "wait until it has ended, or stop it there", "another operation is under way: %s", o.Holder)
	case left == nil:
		return okay("", "none is under way")
	case Continues(*left, to):
		return warning("", "go on with it: paictl upgrade resume, or the same command again", "%s toward %s, begun %s by %s, was left unfinished",
			left.Verb, left.To, left.Started.Format("2006-01-02 15:04 MST"), left.By)
	default:
		return failed("", fmt.Sprintf("finish it first: paictl upgrade apply --to %s", left.To.Services),
			"%s toward %s, begun %s by %s, was left unfinished, and %s is elsewhere", left.Verb, left.To, left.Started.Format("2006-01-02 15:04 MST"), left.By, to)
	}
}

// Continues reports whether going to a pair goes on with what an operation left
// unfinished: its own target is that pair, or older.
func Continues(left pai.Operation, to pai.Pair) bool {
	return to.Kubernetes.AtLeast(left.To.Kubernetes) && to.Services.AtLeast(left.To.Services)
}

// jobs names the steps that running jobs stand in the way of now.
func jobs(ctx context.Context, w *world) []Result {
	obstacles, err := w.BlockedSteps(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	return inTheWay(obstacles, len(w.World.Running()))
}

func inTheWay(obstacles []BlockedStep, running int) []Result {
	var all []Result
	for _, o := range obstacles {
		var names []string
		for _, j := range o.Jobs {
			names = append(names, j.String())
		}
		text := o.Reason
		if len(names) > 0 {
			text += "; jobs: " + strings.Join(slices.Compact(names), ", ")
		}
		all = append(all, failed(string(o.Step), o.Next, "%s", text))
	}
	if len(all) == 0 {
		all = append(all, okay("", "%d jobs run, and none is in the way", running))
	}
	return all
}
