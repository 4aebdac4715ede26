package kube

import (
	"context"
	"maps"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// maxReads is the number of requests in parallel that read objects.
	maxReads = 8
	// listLimit is how many objects a list may have. A longer one has more objects of
	// others than wanted ones, so they are read one by one.
	listLimit = 500
)

// collection is what one request can list: one kind in one namespace.
func (r Ref) collection() Ref {
	r.Name = ""
	return r
}

// listedFrom is the smallest number of objects of one collection that are listed: one request
// instead of one for each. Outside of namespaces, many objects are of Kubernetes itself.
func (r Ref) listedFrom() int {
	if r.Namespace == "" {
		return 3
	}
	return 2
}

// listed reports whether a collection has only small objects of the platform.
// ConfigMaps and Secrets can hold megabytes of others.
func (r Ref) listed() bool {
	return r.Group != "" || (r.Kind != "ConfigMap" && r.Kind != "Secret" && r.Kind != "Pod")
}

// readAll reads objects, those of one collection with one request. The result has
// them by their key, without those that, or whose kinds, do not exist.
func (c *Client) readAll(ctx context.Context, objects []Ref) (map[Ref]*unstructured.Unstructured, error) {
	var collections [][]Ref
	index := map[Ref]int{}
	for _, r := range objects {
		i, known := index[r.collection()]
		if !known {
			i = len(collections)
			index[r.collection()] = i
			collections = append(collections, nil)
		}
		collections[i] = append(collections[i], r)
	}
	results := make([]map[Ref]*unstructured.Unstructured, len(collections))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for i, wanted := range collections {
		group.Go(func() (err error) {
			results[i], err = c.readCollection(ctx, wanted)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := map[Ref]*unstructured.Unstructured{}
	for _, found := range results {
		maps.Copy(all, found)
	}
	return all, nil
}

// readCollection reads objects of one collection.
func (c *Client) readCollection(ctx context.Context, wanted []Ref) (map[Ref]*unstructured.Unstructured, error) {
	if len(wanted) >= wanted[0].listedFrom() && wanted[0].listed() {
		if found, complete, err := c.list(ctx, wanted); complete || err != nil {
			return found, err
		}
	}
	found := map[Ref]*unstructured.Unstructured{}
	for _, r := range wanted {
		obj, err := c.get(ctx, r)
		if err != nil {
			return nil, err
		}
		if obj != nil {
			found[r.key()] = obj
		}
	}
	return found, nil
}

// list reads objects with a list of their collection. The list is not complete if
// the collection is too long.
func (c *Client) list(ctx context.Context, wanted []Ref) (found map[Ref]*unstructured.Unstructured, complete bool, err error) {
	first := wanted[0]
	names := map[string]Ref{}
	for _, r := range wanted {
		names[r.Name] = r.key()
	}
	what := "list " + first.Kind + " objects"
	if first.Namespace != "" {
		what += " in " + first.Namespace
	}
	err = c.retry(ctx, what, func(ctx context.Context) error {
		found, complete = map[Ref]*unstructured.Unstructured{}, false
		resource, err := c.resource(first)
		if meta.IsNoMatchError(err) {
			complete = true
			return nil
		}
		if err != nil {
			return err
		}
		list, err := resource.List(ctx, metav1.ListOptions{Limit: listLimit})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if key, ok := names[list.Items[i].GetName()]; ok {
				found[key] = &list.Items[i]
			}
		}
		complete = list.GetContinue() == ""
		return nil
	})
	return found, complete, err
}
