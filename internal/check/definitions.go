package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/service"
)

func definitionChecks() []Check {
	return []Check{
		{"stored-objects", "stored objects are valid with the new definitions", Services | Upgrade, onAPI(storedObjects)},
		{"stored-versions", "stored objects can be kept under the definitions of the release", Services | Upgrade | Rollback, onCluster(storedVersions)},
	}
}

// targetObjects are the objects of the services of the target release.
type targetObjects struct {
	Objects     []*unstructured.Unstructured
	Definitions []apiextensions.CustomResourceDefinition
	Problems    []targetProblem
}

// targetProblem is a service that cannot be rendered from the configuration.
type targetProblem struct {
	Service string
	Err     error
}

// renderTarget renders the services of the target as the upgrade would.
func (w *world) renderTarget(ctx context.Context) (targetObjects, error) {
	return w.render(ctx, w.Target, nil)
}

// render renders the services of a release. A rollback applies recorded objects instead,
// by service; it needs the bundle only for the others.
func (w *world) render(ctx context.Context, m release.Manifest, recorded map[string][]*unstructured.Unstructured) (targetObjects, error) {
	var t targetObjects
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		t.Objects = append(t.Objects, recorded[name]...)
	}
	b, err := w.Bundle(m.Metadata.Name)
	switch {
	case err == nil:
		if err := t.addServices(ctx, b, w.Config, recorded); err != nil {
			return t, err
		}
	case len(recorded) == 0 || !errors.Is(err, fs.ErrNotExist):
		return t, err
	}
	return t, t.readDefinitions(m.Metadata.Name)
}

func (t *targetObjects) addServices(ctx context.Context, b *release.Bundle, cfg *config.Config, recorded map[string][]*unstructured.Unstructured) error {
	services, err := service.Catalog(b.Services())
	if err != nil {
		return err
	}
	for _, s := range services {
		if recorded[s.Name] != nil {
			continue
		}
		objects, err := service.Render(ctx, s, cfg, b)
		if err != nil {
			t.Problems = append(t.Problems, targetProblem{s.Name, err})
			continue
		}
		t.Objects = append(t.Objects, objects...)
	}
	return nil
}

func (t *targetObjects) readDefinitions(name pai.Release) error {
	for _, o := range t.Objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		var d apiextensions.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			return fmt.Errorf("read the definition %s of release %s: %w", o.GetName(), name, err)
		}
		apiextensions.SetDefaults_CustomResourceDefinitionSpec(&d.Spec)
		t.Definitions = append(t.Definitions, d)
	}
	return nil
}

// definitionChange is a definition in the cluster and in the target release.
type definitionChange struct {
	now, next apiextensions.CustomResourceDefinition
}

func (w *world) definitionChanges(ctx context.Context) ([]definitionChange, error) {
	installed, err := w.api.definitions.get(ctx)
	if err != nil {
		return nil, err
	}
	target, err := w.target.get(ctx)
	if err != nil {
		return nil, err
	}
	var changes []definitionChange
	for _, next := range target.Definitions {
		if now, ok := installed[next.Name]; ok {
			changes = append(changes, definitionChange{now, next})
		}
	}
	return changes, nil
}

// storedObjects validates every stored object whose definition the target changes.
func storedObjects(ctx context.Context, w *world, client *kube.Client) ([]Result, error) {
	changes, err := w.definitionChanges(ctx)
	if err != nil {
		return nil, err
	}
	var all []Result
	total := 0
	for _, c := range changes {
		if reflect.DeepEqual(c.now.Spec.Versions, c.next.Spec.Versions) {
			continue
		}
		n, found, err := validateStored(ctx, client, c)
		total += n
		all = append(all, found...)
		if err != nil {
			all = append(all, unknown(c.now.Name, err))
		}
	}
	return orOkay(all, "%d objects of changed definitions are valid with the new ones", total), nil
}

// maxObjects is how many invalid objects of one definition are named.
const maxObjects = 10

// validateStored validates them in the version that the release stores. Where the webhook
// that converts them does not run, as after the stop of its service, it validates them in
// the version in which they are stored.
func validateStored(ctx context.Context, client apiClient, c definitionChange) (n int, all []Result, err error) {
	version, err := commonVersion(c)
	if err != nil {
		return 0, nil, err
	}
	n, all, err = validateVersion(ctx, client, c, version)
	if stored := storedVersion(c); kube.NotConverted(err) && stored != "" && stored != version {
		return validateVersion(ctx, client, c, stored)
	}
	return n, all, err
}

func validateVersion(ctx context.Context, client apiClient, c definitionChange, version string) (n int, all []Result, err error) {
	v, err := newValidator(c.next, version)
	if err != nil {
		return 0, nil, err
	}
	resource := schema.GroupVersionResource{Group: c.now.Spec.Group, Version: version, Resource: c.now.Spec.Names.Plural}
	invalid := 0
	for next := ""; ; {
		list, err := client.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return n, all, fmt.Errorf("list %s: %w", resource.GroupResource(), err)
		}
		n += len(list.Items)
		for i := range list.Items {
			o := &list.Items[i]
			if problems := v.validate(ctx, o); len(problems) > 0 {
				if invalid++; invalid <= maxObjects {
					all = append(all, failed(c.now.Spec.Names.Kind+"/"+strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"),
						"change the object so that it is valid with both definitions", "invalid with the definition of the release: %s", strings.Join(problems, "; ")))
				}
			}
		}
		if next = list.GetContinue(); next == "" {
			break
		}
	}
	if invalid > maxObjects {
		all = append(all, failed(c.now.Name, "change the objects so that they are valid with both definitions", "%d more objects are invalid with the definition of the release", invalid-maxObjects))
	}
	return n, all, nil
}

// commonVersion returns a version that the cluster serves now and that the new
// definition has: the new storage version if possible.
func commonVersion(c definitionChange) (string, error) {
	common := ""
	for _, v := range c.next.Spec.Versions {
		if !slices.ContainsFunc(c.now.Spec.Versions, func(now apiextensions.CustomResourceDefinitionVersion) bool { return now.Name == v.Name && now.Served }) {
			continue
		}
		if v.Storage || common == "" {
			common = v.Name
		}
		if v.Storage {
			break
		}
	}
	if common == "" {
		return "", errors.New("no version in common with the definition of the release, so its objects cannot be validated")
	}
	return common, nil
}

// storedVersion returns the version in which the cluster stores objects now, if the new
// definition has it as well.
func storedVersion(c definitionChange) string {
	for _, now := range c.now.Spec.Versions {
		if now.Storage && now.Served && slices.ContainsFunc(c.next.Spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool { return v.Name == now.Name }) {
			return now.Name
		}
	}
	return ""
}
