package kube

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

const (
	// annotationRewrite marks a definition whose objects are written in another
	// version. It has that version, and stays until the next definition serves and
	// no object names a version that it lacks.
	annotationRewrite = "pai.dev/rewrite-stored"
	// rewritePasses is how often all objects are written. The second pass finds
	// nothing to change, unless an API server still used the previous version.
	rewritePasses = 5
)

// rewriteStored prepares the cluster for definitions that lack a version that
// objects might be stored as: while the present definitions and the programs that
// convert between their versions still serve, it writes every such object again in a
// version that the next definition has. It decides for all definitions before it
// changes one. It returns the definitions that renameManaged completes, also those
// of an interrupted call.
func (c *Client) rewriteStored(ctx context.Context, objs []*unstructured.Unstructured) ([]*apiextensions.CustomResourceDefinition, error) {
	next, err := definitionsIn(objs)
	if err != nil || len(next) == 0 {
		return nil, err
	}
	installed, err := c.definitions(ctx)
	if err != nil {
		return nil, err
	}
	var changed []*apiextensions.CustomResourceDefinition
	var changes []StorageChange
	var refused []error
	for _, n := range next {
		now, ok := installed[n.Name]
		if !ok {
			continue
		}
		change, err := StorageChangeOf(now, n)
		refused = append(refused, err)
		if change != nil {
			changes = append(changes, *change)
		}
		if change != nil || now.Annotations[annotationRewrite] != "" {
			changed = append(changed, n)
		}
	}
	if err := errors.Join(refused...); err != nil {
		return nil, pai.Errorf(pai.CodeRefused, "go through a release whose definitions have a version of both", "stored objects would be lost: %w", err)
	}
	for _, change := range changes {
		now := installed[change.Definition]
		if err := c.rewrite(ctx, now, change); err != nil {
			return nil, fmt.Errorf("write the objects of %s again as %s: %w", now.Name, change.To, err)
		}
	}
	return changed, nil
}

// rewrite makes a version the storage version of a kind, writes all its objects, and
// then removes the other versions from the stored ones.
func (c *Client) rewrite(ctx context.Context, now *apiextensions.CustomResourceDefinition, change StorageChange) error {
	served, err := newestServed(now)
	if err != nil {
		return err
	}
	if err := c.setStorage(ctx, now, change.To, served); err != nil {
		return err
	}
	resource := schema.GroupVersionResource{Group: now.Spec.Group, Version: served, Resource: now.Spec.Names.Plural}
	written := 0
	for pass := 1; ; pass++ {
		n, err := c.eachStored(ctx, resource, func(*unstructured.Unstructured) (bool, error) { return true, nil })
		if err != nil {
			return err
		}
		if written += n; n == 0 {
			break
		}
		if pass == rewritePasses {
			return pai.Errorf(pai.CodeFailed, "run the same command again", "%d objects were written in another version in pass %d", n, pass)
		}
	}
	if err := c.setStoredVersions(ctx, change); err != nil {
		return err
	}
	c.progress("%s: wrote %d objects again as %s", now.Name, written, change.To)
	return nil
}

// setStorage makes a version the storage version, and waits until the API server
// uses it: discovery shows a hash of the storage version.
func (c *Client) setStorage(ctx context.Context, now *apiextensions.CustomResourceDefinition, to, served string) error {
	err := c.changeDefinition(ctx, now.Name, func(d *unstructured.Unstructured) error {
		d.SetAnnotations(withEntry(d.GetAnnotations(), annotationRewrite, to))
		versions, _, err := unstructured.NestedSlice(d.Object, "spec", "versions")
		if err != nil {
			return err
		}
		for _, v := range versions {
			if version, ok := v.(map[string]any); ok {
				version["storage"] = version["name"] == to
			}
		}
		return unstructured.SetNestedSlice(d.Object, versions, "spec", "versions")
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(now.Spec.Group + "/" + to + "/" + now.Spec.Names.Kind))
	want := base64.StdEncoding.EncodeToString(sum[:8]) // as in k8s.io/apiserver/pkg/endpoints/discovery
	wait := poll.Wait{For: "the API server to store objects of " + now.Name + " as " + to, Timeout: establishTimeout, Every: 50 * time.Millisecond, Max: time.Second}
	return wait.Until(ctx, func(context.Context) (bool, error) {
		list, err := c.clientset.Discovery().ServerResourcesForGroupVersion(now.Spec.Group + "/" + served)
		if err != nil {
			return false, err
		}
		for _, r := range list.APIResources {
			if r.Name == now.Spec.Names.Plural {
				return r.StorageVersionHash == want, nil
			}
		}
		return false, errors.New("the kind is not served")
	})
}

// setStoredVersions records that no object is stored in another version.
func (c *Client) setStoredVersions(ctx context.Context, change StorageChange) error {
	resource := c.dynamic.Resource(definitionResource)
	return c.retry(ctx, "shorten the stored versions of "+change.Definition, func(ctx context.Context) error {
		live, err := resource.Get(ctx, change.Definition, metav1.GetOptions{})
		if err != nil {
			return err
		}
		d, err := typedDefinition(live)
		if err != nil {
			return err
		}
		if storage := storageOf(d); storage != change.To {
			return pai.Errorf(pai.CodeRefused, "run the same command again", "another client made %s its storage version meanwhile", storage)
		}
		if err := unstructured.SetNestedStringSlice(live.Object, []string{change.To}, "status", "storedVersions"); err != nil {
			return err
		}
		_, err = resource.UpdateStatus(ctx, live, metav1.UpdateOptions{FieldManager: pai.FieldManager})
		return err
	})
}

// renameManaged completes rewriteStored once the next definitions serve and no
// program can write another version. Server-side apply fails for an object if an
// entry of its managed fields has a version that is not served
// (kubernetes/kubernetes#111937).
func (c *Client) renameManaged(ctx context.Context, next []*apiextensions.CustomResourceDefinition) error {
	for _, d := range next {
		served, err := newestServed(d)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		resource := schema.GroupVersionResource{Group: d.Spec.Group, Version: served, Resource: d.Spec.Names.Plural}
		if _, err := c.eachStored(ctx, resource, func(o *unstructured.Unstructured) (bool, error) { return renameManagedVersions(o, d) }); err != nil {
			return fmt.Errorf("rename the versions of managed fields of %s: %w", d.Name, err)
		}
		err = c.changeDefinition(ctx, d.Name, func(live *unstructured.Unstructured) error {
			annotations := live.GetAnnotations()
			delete(annotations, annotationRewrite)
			live.SetAnnotations(annotations)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func withEntry(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}
