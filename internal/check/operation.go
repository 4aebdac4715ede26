package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func operationChecks() []Check {
	return []Check{
		{"cluster-id", "the configuration is for this cluster", always, clusterID},
		{"configuration", "the release supports the configuration", Services | Upgrade | alsoOnResume, configuration},
		{"support-plan", "the support plan has a path to the release", Upgrade | alsoOnResume, onCluster(supportPlan)},
		{"operation", "no other operation is in progress or unfinished", Upgrade | Staging | alsoOnResume, operation},
		{"backup", "a backup of the control plane is not old", Upgrade, recentBackup},
		{"jobs", "no running job blocks a step", Upgrade | alsoOnResume, jobs},
	}
}

// oldBackup is the age of a backup that is worth a warning.
const oldBackup = 7 * 24 * time.Hour

// recentBackup warns without a recent backup: with the disk of the control-plane
// machine, the cluster would be lost.
func recentBackup(ctx context.Context, w *world) ([]Result, error) {
	if w.World.Current.Kubernetes == "" {
		return nil, w.unobserved()
	}
	if w.Config != nil && w.Config.Kubernetes.Backup != nil {
		return scheduledBackup(ctx, w)
	}
	if w.LastBackup == nil {
		return nil, nil
	}
	at, err := w.LastBackup(ctx)
	if err != nil {
		return nil, err
	}
	const fix = "back up the control plane; run: paictl cluster backup"
	age := time.Since(at)
	switch {
	case at.IsZero():
		return []Result{warning("", fix, "the journal has no backup of the control plane")}, nil
	case age > oldBackup:
		return []Result{warning("", fix, "the newest backup of the control plane is %d days old", int(age.Hours()/24))}, nil
	default:
		return []Result{okay("", "the newest backup of the control plane is %s old", age.Round(time.Minute))}, nil
	}
}

// clusterID compares the ID in the configuration with the ones on the
// control-plane machine and in the API.
func clusterID(ctx context.Context, w *world) ([]Result, error) {
	inAPI, err := "", w.unobserved()
	if w.World.Current.Kubernetes != "" {
		inAPI, err = w.api.clusterID.get(ctx)
	}
	return sameID(w.Config.Services.Cluster.Common.ClusterID, w.World.ClusterID, inAPI, err)
}

func sameID(want, recorded, inAPI string, err error) ([]Result, error) {
	const fix = "pass the configuration of this cluster with -p"
	switch {
	case recorded != "" && recorded != want:
		return []Result{failed("", fix, "the machines belong to cluster %q, but the configuration is for %q", recorded, want)}, nil
	case inAPI != "" && inAPI != want:
		return []Result{failed("", fix, "the API belongs to cluster %q, but the configuration is for %q", inAPI, want)}, nil
	case recorded != "":
		return []Result{okay("", "cluster %q", want)}, nil
	case err != nil:
		return nil, err
	default:
		return []Result{okay("", "the machines do not belong to a cluster yet")}, nil
	}
}

func readClusterID(ctx context.Context, c apiClient) (string, error) {
	cm, err := c.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).Get(ctx, pai.ClusterConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the cluster ID: %w", err)
	}
	return cm.Data["clusterId"], nil
}

// configuration checks that the services of the target can be rendered. The files
// themselves were validated when they were read.
func configuration(ctx context.Context, w *world) ([]Result, error) {
	target, err := w.target.get(ctx)
	if err != nil {
		return nil, err
	}
	var all []Result
	for _, p := range target.Problems {
		all = append(all, failed(p.Service, "fix the configuration, or use a release that supports it", "%v", p.Err))
	}
	all = orOkay(all, "release %s renders %d objects from it", w.Target.Metadata.Name, len(target.Objects))
	// An older schema version is valid as well.
	if have, want := w.Config.Layout.SchemaVersion, w.Target.Configuration.Schema; have < want {
		all = append(all, okay("", "the files have schema version %d, and release %s uses %d: the first step of an upgrade migrates them", have, w.Target.Metadata.Name, want))
	}
	return all, nil
}

// supportPlan: the path does not depend on bundles, so it is also reported if the
// steps could not be planned because a bundle is missing.
func supportPlan(_ context.Context, w *world) ([]Result, error) {
	p, err := w.Plan, w.PlanErr
	if err != nil && pai.CodeOf(err) != pai.CodeRefused {
		var path plan.HopList
		path, err = plan.Offline(w.Releases, w.World.Current, plan.Target{Release: w.Target.Metadata.Name})
		p = plan.Plan{Hops: path.Hops, Notes: path.Notes}
	}
	return supported(p, err, string(w.Target.Metadata.Name))
}

func supported(p plan.Plan, err error, to string) ([]Result, error) {
	var e *pai.Error
	switch {
	case errors.As(err, &e) && e.Code == pai.CodeRefused:
		return []Result{failed("", e.Next, "%v", err)}, nil
	case err != nil:
		return nil, err
	case len(p.Notes) > 0:
		return []Result{warning("", "upgrade the cluster: the first hop fixes this", "%s", strings.Join(p.Notes, "; "))}, nil
	case len(p.Hops) == 0:
		return []Result{okay("", "the cluster runs release %s", to)}, nil
	}
	var hops []string
	for _, h := range p.Hops {
		hops = append(hops, fmt.Sprintf("%s %s → %s", h.Kind, h.From, h.To))
	}
	return []Result{okay("", "%s", strings.Join(hops, ", "))}, nil
}

func operation(ctx context.Context, w *world) ([]Result, error) {
	o, err := w.Operation(ctx)
	if err != nil {
		return nil, err
	}
	return []Result{inProgress(o, w.Pair)}, nil
}

func inProgress(o Operation, to pai.Pair) Result {
	left := o.Unfinished
	switch {
	case o.Holder != "":
		return failed("", "wait until it ends, or stop it there", "another operation is in progress: %s", o.Holder)
	case left == nil:
		return okay("", "no operation is in progress")
	}
	unfinished := fmt.Sprintf("%s to %s, started %s by %s, is unfinished", left.Verb, left.To, date(left.Started), left.By)
	if continues(*left, to) {
		return warning("", "continue it "+withCommand(*left), "%s", unfinished)
	}
	return failed("", "finish it first "+withCommand(*left), "%s, and %s is a different target", unfinished, to)
}

// withCommand says how an unfinished operation is continued.
func withCommand(left pai.Operation) string {
	if c := left.Command(); c != "" {
		return "with the same command; run: " + c
	}
	return "with the same command"
}

// continues reports whether an operation to a pair of versions continues an
// unfinished one: the target of that one is the same pair or an older one.
func continues(left pai.Operation, to pai.Pair) bool {
	return to.Kubernetes.AtLeast(left.To.Kubernetes) && to.Services.AtLeast(left.To.Services)
}

// jobs returns the steps that running jobs block now.
func jobs(ctx context.Context, w *world) ([]Result, error) {
	if err := w.unobserved(); err != nil {
		return nil, err // no step was planned
	}
	steps, err := w.BlockedSteps(ctx)
	if err != nil {
		return nil, err
	}
	return blocked(steps, len(w.World.Running())), nil
}

func blocked(steps []BlockedStep, running int) []Result {
	var all []Result
	for _, s := range steps {
		var names []string
		for _, j := range s.Jobs {
			names = append(names, j.String())
		}
		text := s.Reason
		if len(names) > 0 {
			text += "; jobs: " + strings.Join(slices.Compact(names), ", ")
		}
		all = append(all, failed(string(s.Step), s.Next, "%s", text))
	}
	return orOkay(all, "none of %d running jobs blocks a step", running)
}
