package kube

import (
	"context"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/plan"
)

// Diff says what Apply with the same arguments would change, field by field,
// as the API itself answers to a dry run: with its defaults, and with what
// other managers own left alone. Secret values are masked. Objects that stay
// as they are are left out.
func (c *Client) Diff(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) ([]plan.Change, error) {
	var changes []plan.Change
	for _, obj := range inOrder(objs) {
		wanted := marked(obj, opts.Inventory)
		states, err := c.dryRunStates(ctx, wanted)
		note := ""
		if apierrors.IsInvalid(err) && states.before != nil && defines(objs, obj.GroupVersionKind().GroupKind()) {
			// The definition that is there now does not know it; the one that comes with it will.
			states.after = &unstructured.Unstructured{Object: overlay(content(states.before), wanted.Object)}
			note, err = "its definition changes with it: what the API adds by itself is not shown", nil
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
			changes = append(changes, plan.Change{What: r.String(), Action: plan.Kept, Note: "its deletion would take data along"})
		default:
			changes = append(changes, plan.Change{What: r.String(), Action: plan.Deleted})
		}
	}
	return changes, nil
}

// defines reports whether objs bring the definition of a kind.
func defines(objs []*unstructured.Unstructured, kind schema.GroupKind) bool {
	return slices.ContainsFunc(objs, func(o *unstructured.Unstructured) bool {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		name, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		return o.GetKind() == "CustomResourceDefinition" && group == kind.Group && name == kind.Kind
	})
}

// overlay is what is there with what is wanted over it: maps are merged, all
// else is replaced.
func overlay(there, wanted map[string]any) map[string]any {
	merged := maps.Clone(there)
	for key, value := range wanted {
		below, isMap := merged[key].(map[string]any)
		if over, ok := value.(map[string]any); ok && isMap {
			value = overlay(below, over)
		}
		merged[key] = value
	}
	return merged
}

// states are an object as it is and as an application would leave it; before
// is nil where there is none yet.
type states struct{ before, after *unstructured.Unstructured }

// dryRunStates asks the API what an application would leave behind. Where it
// cannot say, because the kind or namespace is not there yet, that is the
// object as it was given.
func (c *Client) dryRunStates(ctx context.Context, obj *unstructured.Unstructured) (states, error) {
	st := states{after: obj}
	ref := RefOf(obj)
	err := c.retry(ctx, "dry-run of "+ref.String(), func(ctx context.Context) error {
		resource, err := c.resource(ref)
		if isNoMatch(err) {
			return nil
		}
		if err != nil {
			return err
		}
		before, err := resource.Get(ctx, obj.GetName(), metav1.GetOptions{})
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		st.before = before
		wanted := obj
		if dropsConversion(before, obj) {
			// Application takes this away in two calls, of which the first would have to be real.
			wanted = obj.DeepCopy()
			unstructured.RemoveNestedField(wanted.Object, "spec", "conversion")
		}
		after, err := resource.Apply(ctx, obj.GetName(), wanted, dryRunOptions())
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

// change compares the two states; false where they are the same.
func (st states) change(r Ref) (plan.Change, bool) {
	change := plan.Change{What: r.String(), Action: plan.Changed}
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

// content is an object without what the API keeps of it by itself.
func content(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	return o.Object
}

const masked = "••••"

// mask hides what a change would tell of a secret: all values of Secrets, and
// in other kinds whatever is named like one.
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

// secretName reports whether something is named as secrets are.
func secretName(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
	// Settings of how tokens are made, not tokens.
	name = strings.ReplaceAll(name, "serviceaccounttoken", "")
	for _, word := range []string{"password", "passwd", "token", "secretkey", "apikey", "privatekey", "credential"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
