package check

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/service"
)

// targetObjects is what the target's services consist of.
type targetObjects struct {
	Objects     []*unstructured.Unstructured
	Definitions []apiextensions.CustomResourceDefinition
	Problems    []targetProblem
}

// targetProblem is a service that cannot be made from the configuration.
type targetProblem struct {
	Service string
	Err     error
}

// renderTarget makes the target's services as the upgrade would.
func (w *world) renderTarget(ctx context.Context) (targetObjects, error) {
	var t targetObjects
	b, err := w.Bundle(w.Target.Metadata.Name)
	if err != nil {
		return t, err
	}
	services, err := service.Catalog(b.Services())
	if err != nil {
		return t, err
	}
	for _, s := range services {
		objects, err := service.Render(ctx, s, w.Config, b)
		if err != nil {
			t.Problems = append(t.Problems, targetProblem{s.Name, err})
			continue
		}
		t.Objects = append(t.Objects, objects...)
	}
	for _, o := range t.Objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		var d apiextensions.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			return t, fmt.Errorf("read the definition %s of release %s: %w", o.GetName(), w.Target.Metadata.Name, err)
		}
		apiextensions.SetDefaults_CustomResourceDefinitionSpec(&d.Spec)
		t.Definitions = append(t.Definitions, d)
	}
	return t, nil
}

// changed pairs the definitions of the cluster with those of the target.
type changed struct {
	now, next apiextensions.CustomResourceDefinition
}

func (w *world) changedDefinitions(ctx context.Context) ([]changed, error) {
	there, err := w.api.definitions.get(ctx)
	if err != nil {
		return nil, err
	}
	target, err := w.targets.get(ctx)
	if err != nil {
		return nil, err
	}
	var pairs []changed
	for _, next := range target.Definitions {
		if now, ok := there[next.Name]; ok {
			pairs = append(pairs, changed{now, next})
		}
	}
	return pairs, nil
}

// storedVersions: a version that objects may be stored as has to stay in the
// definition, or the API server refuses the definition.
func storedVersions(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	pairs, err := w.changedDefinitions(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	var all []Result
	for _, p := range pairs {
		all = append(all, versionsKept(p)...)
	}
	if len(all) == 0 {
		all = append(all, okay("", "%d definitions keep every stored version", len(pairs)))
	}
	return all
}

func versionsKept(p changed) []Result {
	served := map[string]bool{}
	for _, v := range p.next.Spec.Versions {
		served[v.Name] = v.Served
	}
	var all []Result
	for _, v := range p.now.Status.StoredVersions {
		serves, there := served[v]
		switch {
		case !there:
			all = append(all, failed(p.now.Name, fmt.Sprintf("write every object of it again as a version that stays, then take %s out of status.storedVersions", v),
				"objects may be stored as %s, which the release's definition no longer has", v))
		case !serves:
			all = append(all, warning(p.now.Name, "nothing now: the release still reads what is stored", "objects may be stored as %s, which the release no longer serves", v))
		}
	}
	return all
}

// storedObjects reads every stored object whose definition the target changes,
// and validates it by the target's.
func storedObjects(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	pairs, err := w.changedDefinitions(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	var all []Result
	seen := 0
	for _, p := range pairs {
		if reflect.DeepEqual(p.now.Spec.Versions, p.next.Spec.Versions) {
			continue
		}
		n, found, err := validateStored(ctx, client, p)
		seen += n
		if err != nil {
			all = append(all, unknown(p.now.Name, err))
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		all = append(all, okay("", "%d objects of definitions that change are valid under the new ones", seen))
	}
	return all
}

// mostObjects is how many invalid objects of one definition are named.
const mostObjects = 10

func validateStored(ctx context.Context, client apiClient, p changed) (n int, all []Result, err error) {
	version, err := commonVersion(p)
	if err != nil {
		return 0, nil, err
	}
	v, err := newValidator(p.next, version)
	if err != nil {
		return 0, nil, err
	}
	resource := schema.GroupVersionResource{Group: p.now.Spec.Group, Version: version, Resource: p.now.Spec.Names.Plural}
	bad := 0
	for next := ""; ; {
		list, err := client.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return n, all, fmt.Errorf("list %s: %w", resource.GroupResource(), err)
		}
		n += len(list.Items)
		for i := range list.Items {
			o := &list.Items[i]
			if problems := v.validate(ctx, o); len(problems) > 0 {
				if bad++; bad <= mostObjects {
					all = append(all, failed(p.now.Spec.Names.Kind+"/"+strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"),
						"change the object so that both definitions take it", "the release's definition no longer takes it: %s", strings.Join(problems, "; ")))
				}
			}
		}
		if next = list.GetContinue(); next == "" {
			break
		}
	}
	if bad > mostObjects {
		all = append(all, failed(p.now.Name, "change the objects so that both definitions take them", "%d more objects are not valid under the release's definition", bad-mostObjects))
	}
	return n, all, nil
}

// commonVersion is the version that objects can be read as now and that the
// new definition has a schema of: the new one's storage version if it can be.
func commonVersion(p changed) (string, error) {
	servedNow := func(name string) bool {
		return slices.ContainsFunc(p.now.Spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool { return v.Name == name && v.Served })
	}
	common := ""
	for _, v := range p.next.Spec.Versions {
		if !servedNow(v.Name) {
			continue
		}
		if v.Storage {
			return v.Name, nil
		}
		if common == "" {
			common = v.Name
		}
	}
	if common == "" {
		return "", errors.New("it has no version in common with the release's definition, so what becomes of its objects is not known")
	}
	return common, nil
}
