package rest

import (
	"context"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/pai"
)

// Most jobs of a cluster have ended and do not change, and reading their objects is most of
// the time of a list. So a server keeps what it has read of each object with its version. A
// list still asks the API server for all objects, but only for their versions, and reads
// those again that have another one: it is never older than the cluster.

const (
	// maxUnchanged is how many objects of a kind are kept. What is kept of one has 2 to 3 KB.
	maxUnchanged = 20000
	// readEach is how many objects of a page are read one by one. If more changed, the page
	// is read as a whole.
	readEach = 5
)

// versionCluster is a Cluster that can list the versions of objects; *kube.Client is one.
type versionCluster interface {
	ListVersions(ctx context.Context, r schema.GroupVersionResource, namespace string, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error)
}

// versionsOf lists the versions of the objects of a kind.
func versionsOf(c versionCluster, r schema.GroupVersionResource, namespace string) func(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	return func(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
		return c.ListVersions(ctx, r, namespace, o)
	}
}

// version names what an object is at a time.
type version struct {
	uid     types.UID
	version string
}

func versionOf(o metav1.Object) version { return version{o.GetUID(), o.GetResourceVersion()} }

// objects read the objects of a kind in a namespace. What they return of an object must
// not be changed.
type objects[T any] struct {
	namespace string
	// atOnce is how many versions a page has. A page of objects has pageSize.
	atOnce   int64
	versions func(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error)
	list     func(ctx context.Context, o metav1.ListOptions) (all []T, page metav1.ListMeta, err error)
	get      func(ctx context.Context, name string) (T, error)
}

// unchanged are the objects of a kind that lists have read, by namespace and UID.
type unchanged[T any] struct {
	versionOf func(T) version

	mu    sync.Mutex
	known map[string]map[types.UID]T
	count int
	// newest is the version of the newest list of a namespace.
	newest map[string]uint64
}

func newUnchanged[T any](versionOf func(T) version) *unchanged[T] {
	return &unchanged[T]{versionOf: versionOf, known: map[string]map[types.UID]T{}, newest: map[string]uint64{}}
}

// each calls do with each object of a list, which it reads in pages.
func (u *unchanged[T]) each(ctx context.Context, selector string, from objects[T], do func(T) error) error {
	o, seen := metav1.ListOptions{LabelSelector: selector, Limit: from.atOnce}, map[types.UID]bool{}
	for {
		page, more, err := u.page(ctx, &o, from)
		if err != nil {
			return err
		}
		for _, one := range page {
			seen[u.versionOf(one).uid] = true
			if err := do(one); err != nil {
				return err
			}
		}
		if o.Continue = more; more == "" {
			break
		}
	}
	if selector == pai.LabelJob { // other lists do not have all
		u.keep(from.namespace, seen)
	}
	return nil
}

// page is a page of a list, and where the next one begins. It makes the next ones smaller
// if much has changed.
func (u *unchanged[T]) page(ctx context.Context, o *metav1.ListOptions, from objects[T]) (page []T, more string, err error) {
	versions, err := from.versions(ctx, *o)
	if err != nil {
		return nil, "", err
	}
	if o.Continue == "" {
		u.begin(from.namespace, versions.ResourceVersion)
	}
	var missing []int
	page = make([]T, len(versions.Items))
	for i := range versions.Items {
		var ok bool
		if page[i], ok = u.get(from.namespace, versionOf(&versions.Items[i])); !ok {
			missing = append(missing, i)
		}
	}
	if len(missing) > readEach {
		// The next page begins where this one ends: an object that was created meanwhile
		// moves the others.
		o.Limit = pageSize
		all, meta, err := from.list(ctx, *o)
		u.put(from.namespace, all...)
		return all, meta.Continue, err
	}
	deleted := map[int]bool{}
	for _, i := range missing {
		page[i], err = from.get(ctx, versions.Items[i].Name)
		switch {
		case apierrors.IsNotFound(err):
			deleted[i] = true
		case err != nil:
			return nil, "", err
		default:
			u.put(from.namespace, page[i])
		}
	}
	left := page[:0]
	for i, one := range page {
		if !deleted[i] {
			left = append(left, one)
		}
	}
	return left, versions.Continue, nil
}

// begin drops what is known of a namespace if the cluster is older than it was: after etcd
// was restored, another object can get a version that an object had before.
func (u *unchanged[T]) begin(namespace, list string) {
	n, err := strconv.ParseUint(list, 10, 64)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil || n < u.newest[namespace] {
		u.count -= len(u.known[namespace])
		delete(u.known, namespace)
	}
	u.newest[namespace] = n
}

func (u *unchanged[T]) get(namespace string, v version) (one T, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	one, ok = u.known[namespace][v.uid]
	return one, ok && v.version != "" && u.versionOf(one) == v
}

func (u *unchanged[T]) put(namespace string, all ...T) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known[namespace] == nil {
		u.known[namespace] = map[types.UID]T{}
	}
	for _, one := range all {
		uid := u.versionOf(one).uid
		if _, known := u.known[namespace][uid]; !known {
			if u.count >= maxUnchanged {
				continue
			}
			u.count++
		}
		u.known[namespace][uid] = one
	}
}

// keep drops the objects of a namespace that a list of all of them did not have.
func (u *unchanged[T]) keep(namespace string, seen map[types.UID]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for uid := range u.known[namespace] {
		if !seen[uid] {
			delete(u.known[namespace], uid)
			u.count--
		}
	}
}
