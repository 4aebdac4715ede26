package kube

import (
	"context"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Diff returns the changes that Apply with the same arguments would make, field
// by field. They come from a dry run of the API server, with its defaults and
// without the fields of other managers. Secret values are masked. Unchanged
// objects are omitted.
func (c *Client) Diff(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) ([]plan.StepDiff, error) {
	var changes []plan.StepDiff
	for _, obj := range inOrder(objs) {
		wanted := marked(obj, opts.Inventory)
		states, err := c.dryRunStates(ctx, wanted)
		note := ""
		if apierrors.IsInvalid(err) && states.before != nil && defines(objs, obj.GroupVersionKind().GroupKind()) {
			// The present definition refuses it; the one in objs accepts it.
			states.after = &unstructured.Unstructured{Object: overlay(content(states.before), wanted.Object)}
			note, err = "its definition also changes: defaults of the API server are not shown", nil
		}
		if apierrors.IsInvalid(err) && states.before != nil && obj.GetKind() == definitionKind {
			if note, err = storageNote(states.before, obj, err); err == nil {
				states.after = &unstructured.Unstructured{Object: overlay(content(states.before), wanted.Object)}
			}
		}
		if err != nil {
			return changes, err
		}
		if change, changed := states.change(RefOf(obj)); changed {
			if note != "" {
				change.Note = note
			}
			changes = append(changes, change)
		}
	}
	if opts.Inventory == "" || !opts.Prune {
		return changes, nil
	}
	old, err := c.Inventory(ctx, opts.Inventory)
	if err != nil || old == nil {
		return changes, err
	}
	for _, r := range minus(old.Objects, refs(objs)) {
		live, err := c.get(ctx, r)
		if err != nil {
			return changes, err
		}
		switch {
		case live == nil:
		case neverPruned(r) || live.GetAnnotations()[AnnotationHolds] != "":
			changes = append(changes, plan.StepDiff{What: r.String(), Action: plan.Kept, Note: "its deletion would also delete data"})
		default:
			changes = append(changes, plan.StepDiff{What: r.String(), Action: plan.Deleted})
		}
	}
	return changes, nil
}

// defines reports whether objs contain the definition of a kind.
func defines(objs []*unstructured.Unstructured, kind schema.GroupKind) bool {
	return slices.ContainsFunc(objs, func(o *unstructured.Unstructured) bool {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		name, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		return o.GetKind() == "CustomResourceDefinition" && group == kind.Group && name == kind.Kind
	})
}

// overlay is current with the fields of wanted: it merges maps and replaces
// everything else.
func overlay(current, wanted map[string]any) map[string]any {
	merged := maps.Clone(current)
	for key, value := range wanted {
		below, isMap := merged[key].(map[string]any)
		if over, ok := value.(map[string]any); ok && isMap {
			value = overlay(below, over)
		}
		merged[key] = value
	}
	return merged
}

// states are an object before and after an application; before is nil if the
// object does not exist.
type states struct{ before, after *unstructured.Unstructured }

// dryRunStates returns the object before and after a dry run. If the kind or the
// namespace does not exist, after is obj.
func (c *Client) dryRunStates(ctx context.Context, obj *unstructured.Unstructured) (states, error) {
	st := states{after: obj}
	ref := RefOf(obj)
	err := c.retry(ctx, "dry-run "+ref.String(), func(ctx context.Context) error {
		resource, err := c.resource(ref)
		if meta.IsNoMatchError(err) {
			return nil
		}
		if err != nil {
			return err
		}
		before, err := resource.Get(ctx, obj.GetName(), metav1.GetOptions{})
		if err != nil {
			return ignoreNotFound(err)
		}
		st.before = before
		wanted := obj
		if dropsConversion(before, obj) {
			// Apply removes this in two calls, and the first cannot be a dry run.
			wanted = obj.DeepCopy()
			unstructured.RemoveNestedField(wanted.Object, "spec", "conversion")
		}
		after, err := resource.Apply(ctx, obj.GetName(), wanted, metav1.ApplyOptions{FieldManager: pai.FieldManager, Force: true, DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			st.after = after
		}
		if err == nil && wanted != obj {
			return unstructured.SetNestedMap(st.after.Object, map[string]any{"strategy": "None"}, "spec", "conversion")
		}
		return err
	})
	return st, err
}

// change compares the two states; false if they are the same.
func (st states) change(r Ref) (plan.StepDiff, bool) {
	change := plan.StepDiff{What: r.String(), Action: plan.Changed}
	if st.before == nil {
		change.Action = plan.Created
		return change, true
	}
	if sameContent(st.before, st.after) {
		return change, false
	}
	for _, f := range plan.Fields(content(st.before), content(st.after)) {
		change.Fields = append(change.Fields, mask(r, f))
		if isWorkload(r) && strings.HasPrefix(f.Path, "spec.template.") {
			change.Restarts, change.Note = true, "its pods are replaced"
		}
	}
	return change, true
}

// content is an object without the fields that the API server maintains.
func content(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	return o.Object
}

const masked = "••••"

// mask hides secrets: all values of Secrets, and in other kinds the values of
// fields with the name of a secret.
func mask(r Ref, f plan.FieldChange) plan.FieldChange {
	all := r.Kind == "Secret" && r.Group == "" && (strings.HasPrefix(f.Path, "data") || strings.HasPrefix(f.Path, "stringData"))
	hide := func(value string) string {
		at := strings.IndexAny(value, "=:")
		switch {
		case value == "":
			return ""
		case all, secretName(f.Path):
			return masked
		case at > 0 && secretName(value[:at]): // a flag, or a line of a file
			return value[:at+1] + masked
		}
		return value
	}
	f.Old, f.New = hide(f.Old), hide(f.New)
	return f
}

// secretName reports whether a name is one of a secret.
func secretName(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
	// These are settings for tokens.
	name = strings.ReplaceAll(name, "serviceaccounttoken", "")
	for _, word := range []string{"password", "passwd", "token", "secretkey", "apikey", "privatekey", "credential"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
