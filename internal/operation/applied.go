package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
)

// AppliedRevision is the revision of the configuration that a plan applies.
type AppliedRevision struct {
	Number int `json:"revision"`
	// New is true if the operation makes the revision from the directory.
	New bool `json:"new"`
}

func (a AppliedRevision) String() string {
	if a.New {
		return fmt.Sprintf("The configuration becomes revision %d, which this applies.", a.Number)
	}
	return fmt.Sprintf("This applies revision %d of the configuration.", a.Number)
}

// applies lists the parts that the plan brings to the configuration's revision.
// ok is false for a goal that does not apply the configuration.
func (o *operation) applies() (parts []revision.Part, ok bool) {
	g, ok := o.goal.(applying)
	if !ok {
		return nil, false
	}
	return g.Applies(o.preview.Plan), true
}

// chooseRevision is the stage that finds the revision to apply. A directory
// that would undo another operator's push is refused before the plan is shown.
func (o *operation) chooseRevision(ctx context.Context) error {
	if _, ok := o.applies(); !ok || o.Hosts[o.Seed().Hostname] == nil {
		return nil // without the control-plane machine nothing is done, and the plan shows why
	}
	c, err := configsync.Read(ctx, o.Session)
	if err != nil {
		return err
	}
	o.preview.Revision = &AppliedRevision{Number: c.Number(), New: !c.Unchanged()}
	return c.CheckPush(o.Config.Dir)
}

// reconfigure is the stage that makes the configuration name the versions that
// the plan moves to.
func (o *operation) reconfigure(context.Context) error {
	if g, ok := o.goal.(reconfiguring); ok {
		return g.Reconfigure(o.config, o.preview.Plan)
	}
	return nil
}

// applyRevision is the stage that makes sure that the configuration to apply is
// a revision.
func (o *operation) applyRevision(ctx context.Context) error {
	if _, ok := o.applies(); !ok {
		return nil
	}
	o.config.Reason = string(o.goal.Verb())
	if to := targetOf(o.goal).Release; to != "" {
		o.config.Reason += " to " + string(to)
	}
	return o.config.Push(ctx, o.config.Reason)
}

// markApplied is the stage that records what the plan has applied. A rollback
// renders the files of machines from the configuration, but it restores recorded
// objects of services: these are as of the revision that was applied with them. A
// restore of etcd brings them back as of the snapshot, also without a hop.
func (o *operation) markApplied(ctx context.Context) error {
	parts, ok := o.applies()
	if !ok {
		return nil
	}
	store, err := o.Revisions()
	if err != nil {
		return err
	}
	w, p := o.preview.world, o.preview.Plan
	if err := store.NoteVersions(ctx, pai.Pair{Services: w.RecordedServices, Kubernetes: w.Current.Kubernetes}); err != nil {
		return err
	}
	until, restored := time.Time{}, o.record.Restored != nil
	if restored {
		until = o.record.Restored.Taken
	}
	if o.goal.Verb() == pai.VerbRollback && (restored || slices.Contains(parts, revision.Services)) {
		parts = slices.DeleteFunc(parts, func(p revision.Part) bool { return p == revision.Services })
		number, err := store.AppliedWith(ctx, revision.Services, pai.AnyVersion(p.To.Services), until)
		if err != nil {
			return err
		}
		if err := store.MarkApplied(ctx, number, p.To, revision.Services); err != nil {
			return err
		}
	}
	return store.MarkApplied(ctx, o.config.Revision, p.To, parts...)
}

// mirrorRevisions is the stage that copies the revisions into the API.
func (o *operation) mirrorRevisions(ctx context.Context) error {
	if _, ok := o.applies(); ok {
		configsync.Mirror(ctx, o.Session)
	}
	return nil
}

// endWithoutSteps is the stage that ends an operation whose plan has no steps,
// unless it must be recorded.
func (o *operation) endWithoutSteps(ctx context.Context) error {
	if len(o.preview.Plan.Steps) > 0 {
		return nil
	}
	if needed, err := o.needsRecordOnly(ctx); needed || err != nil {
		return err
	}
	if o.goal.Verb() == pai.VerbRollback && o.namesOtherVersions() {
		return o.undoConfiguration(ctx)
	}
	if known, err := o.isMarkedApplied(ctx); err != nil {
		return err
	} else if known {
		return errEnd
	}
	if err := o.locked(stage{"apply revision", o.applyRevision}, stage{"mark applied", o.markApplied}).do(ctx); err != nil {
		return err
	}
	configsync.Mirror(ctx, o.Session)
	return errEnd
}

// namesOtherVersions reports whether the configuration names other versions than the plan
// leads to.
func (o *operation) namesOtherVersions() bool {
	to, named := o.preview.Plan.To, o.Config.Pair()
	return to.Kubernetes.Compare(named.Kubernetes) != 0 || to.Services != "" && to.Services.Compare(named.Services) != 0
}

// undoConfiguration rolls back the configuration alone. An upgrade changes it before its
// first step, so without this the next boot would upgrade.
func (o *operation) undoConfiguration(ctx context.Context) error {
	o.Progressf("the cluster is at %s; rolling back the versions in the configuration", o.preview.Plan.To)
	if err := o.locked(stage{"change configuration", o.reconfigure}, stage{"apply revision", o.applyRevision}).do(ctx); err != nil {
		return err
	}
	configsync.Mirror(ctx, o.Session)
	return errEnd
}

// isMarkedApplied reports whether the record of applied revisions is up to date
// for a plan without steps.
func (o *operation) isMarkedApplied(ctx context.Context) (bool, error) {
	parts, _ := o.applies()
	if len(parts) == 0 {
		return true, nil
	}
	c, err := configsync.Read(ctx, o.Session)
	if err != nil {
		return false, err
	}
	store, err := o.Revisions()
	if err != nil {
		return false, err
	}
	applied, err := store.Applied(ctx)
	known := c.Unchanged()
	for _, part := range parts {
		known = known && applied[part] == c.Number()
	}
	return known, err
}
