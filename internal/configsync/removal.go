package configsync

import (
	"context"
	"fmt"
	"slices"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
)

// Removal is the doer of the plan step that takes a machine out of the layout. It makes a
// revision of that, and changes the configuration of the session, so that later steps work
// with the machines that stay.
type Removal struct{ *Step }

// Done reports whether the machine is not in the directory, the directory is a revision, and
// that revision is applied where the one before was.
func (r Removal) Done(ctx context.Context, step plan.Step) (bool, error) {
	s := r.Session
	now, err := config.Load(s.Config.Dir)
	if err != nil || hasMachine(now, step.Target) || hasMachine(s.Config, step.Target) {
		return false, err
	}
	c, err := Read(ctx, s)
	if err != nil || !c.Unchanged() {
		return false, err
	}
	parts, err := r.behindBy(ctx, step.Target)
	return err == nil && len(parts) == 0, err
}

// Do pushes other changes of the operator as a separate revision before. Kubernetes and services
// that are at the revision before are then at the new one: the steps that follow do all that
// it changes.
func (r Removal) Do(ctx context.Context, step plan.Step) error {
	s := r.Session
	now, err := config.Load(s.Config.Dir)
	if err != nil {
		return err
	}
	reason := string(pai.VerbRemove) + " " + step.Target
	if hasMachine(now, step.Target) {
		if err := r.Push(ctx, "changes before "+reason); err != nil {
			return err
		}
		if err := config.RemoveMachine(s.Config.Dir, step.Target); err != nil {
			return err
		}
	}
	s.Config.Layout.MachineList = slices.DeleteFunc(slices.Clone(s.Config.Layout.MachineList), func(m config.Machine) bool { return m.Hostname == step.Target })
	if err := r.Push(ctx, reason); err != nil {
		return err
	}
	parts, err := r.behindBy(ctx, step.Target)
	if err != nil {
		return err
	}
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	if err := store.MarkApplied(ctx, r.Revision, s.Config.Pair(), parts...); err != nil {
		return err
	}
	Mirror(ctx, s)
	return nil
}

// behindBy are the parts at an older revision that has a machine more than the newest one, and
// no other difference.
func (r Removal) behindBy(ctx context.Context, machine string) ([]revision.Part, error) {
	store, err := r.Session.Revisions()
	if err != nil {
		return nil, err
	}
	newest, err := store.Newest(ctx)
	if err != nil || newest == nil {
		return nil, err
	}
	applied, err := store.Applied(ctx)
	if err != nil {
		return nil, err
	}
	var parts []revision.Part
	for _, part := range []revision.Part{revision.Kubernetes, revision.Services} {
		at := applied[part]
		if at == 0 || at == newest.Number {
			continue
		}
		old, err := store.Get(ctx, at)
		if pai.CodeOf(err) == pai.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if differsBy(part, old, *newest, machine) {
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// differsBy reports whether a newer revision differs from an older one by a machine that it
// lacks, and by nothing else that concerns a part.
func differsBy(part revision.Part, old, newer revision.Revision, machine string) bool {
	before, _ := config.FromFiles(fmt.Sprintf("revision-%d", old.Number), old.Files)
	after, _ := config.FromFiles(fmt.Sprintf("revision-%d", newer.Number), newer.Files)
	if before == nil || after == nil || !hasMachine(before, machine) {
		return false
	}
	before.Layout.MachineList = slices.DeleteFunc(before.Layout.MachineList, func(m config.Machine) bool { return m.Hostname == machine })
	changes, err := config.Diff(concerning(part, *before), concerning(part, *after))
	return err == nil && len(changes) == 0
}

func hasMachine(c *config.Config, name string) bool {
	return slices.ContainsFunc(c.Layout.MachineList, func(m config.Machine) bool { return m.Hostname == name })
}
