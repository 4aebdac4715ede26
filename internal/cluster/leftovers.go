package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Need is a range of Kubernetes versions whose programs must stay on the machines,
// although nothing on a machine names them.
type Need struct {
	From, To pai.KubernetesVersion // both included
	Except   pai.KubernetesVersion // not included; another need is about it
	Reason   string
	// AnyBuild: one build of the version is enough on a machine. Otherwise all
	// builds stay, because it is not known which one will be needed.
	AnyBuild bool
}

// PrunedDirectory is a directory that was removed, or that was kept for reasons.
type PrunedDirectory struct {
	Path    string   `json:"path"`
	Bytes   int64    `json:"bytes"`
	Reasons []string `json:"reasons,omitempty"`
}

// PrunedMachine is the result for one machine.
type PrunedMachine struct {
	Machine string            `json:"machine"`
	Removed []PrunedDirectory `json:"removed"` // in a dry run, those that would be removed
	Kept    []PrunedDirectory `json:"kept"`
	Error   string            `json:"error,omitempty"` // why the machine could not be pruned
}

// Prune removes the directories of versions that nothing needs from a machine. The
// caller holds the lock of the cluster, so no step copies or links a version
// meanwhile. The helper on the machine looks again right before it removes.
func Prune(ctx context.Context, h machine.Host, needs []Need, dryRun bool) (PrunedMachine, error) {
	result := PrunedMachine{Machine: h.Name(), Removed: []PrunedDirectory{}, Kept: []PrunedDirectory{}}
	report, err := helper.Parts(ctx, h, inspect.Directories)
	if err != nil {
		return result, err
	}
	var remove []string
	for _, d := range report.Directories {
		pruned := PrunedDirectory{Path: layout.VersionDir(d.Name), Bytes: d.Bytes, Reasons: reasonsToKeep(d, report.Directories, needs)}
		if len(pruned.Reasons) > 0 {
			result.Kept = append(result.Kept, pruned)
			continue
		}
		remove = append(remove, d.Name)
		result.Removed = append(result.Removed, pruned)
	}
	if dryRun || len(remove) == 0 {
		return result, nil
	}
	report, err = helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Directories}, Remove: remove}, inspect.Directories)
	if err != nil {
		return result, fmt.Errorf("remove %s: %w", strings.Join(remove, ", "), err)
	}
	var failed []error
	result.Removed = slices.DeleteFunc(result.Removed, func(d PrunedDirectory) bool {
		name := strings.TrimPrefix(d.Path, layout.ProgramsDir+"/")
		if slices.Contains(report.Removed, name) {
			return false
		}
		err := report.ProblemOf(inspect.Directories, name)
		if err == nil {
			err = errors.New("it was not removed")
		}
		failed = append(failed, fmt.Errorf("remove %s: %w", d.Path, err))
		d.Reasons = []string{err.Error()}
		result.Kept = append(result.Kept, d)
		return true
	})
	return result, errors.Join(failed...)
}

// reasonsToKeep decides about a directory among all of a machine. Without a reason,
// it can be removed.
func reasonsToKeep(d inspect.Directory, all []inspect.Directory, needs []Need) []string {
	var reasons []string
	for _, path := range d.Foreign {
		reasons = append(reasons, "PAI did not write "+path)
	}
	for _, n := range needs {
		if n.covers(d) && !(n.AnyBuild && slices.ContainsFunc(all, func(o inspect.Directory) bool { return n.covers(o) && len(o.Roles) > 0 })) {
			reasons = append(reasons, n.Reason)
		}
	}
	for _, role := range d.Roles {
		reasons = append(reasons, "role "+role+" is linked to it")
	}
	for _, user := range d.Users {
		reasons = append(reasons, user+" uses it")
	}
	return reasons
}

// covers reports whether the need is about a complete directory.
func (n Need) covers(d inspect.Directory) bool {
	v := pai.KubernetesVersion(d.Name)
	return !d.Incomplete && v.Compare(n.From) >= 0 && v.Compare(n.To) <= 0 && (n.Except == "" || v.Compare(n.Except) != 0)
}
