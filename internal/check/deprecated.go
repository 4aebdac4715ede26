package check

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes/scheme"

	"pai.dev/pai/internal/kube"
)

func deprecatedAPIChecks() []Check {
	return []Check{{"deprecated-apis", "no client uses an API that the release removes", Upgrade, onAPI(deprecatedAPIs)}}
}

// deprecatedAPIs finds clients of APIs that Kubernetes removes before the target
// version: by the request metrics of the API server, and by the fields of objects
// that record how they were written.
func deprecatedAPIs(ctx context.Context, w *world, client *kube.Client) ([]Result, error) {
	to, err := version.ParseGeneric(w.Target.Kubernetes.Upstream)
	if err != nil {
		return nil, err
	}
	from := upstreamOf(w.Releases)[w.World.Current.Kubernetes]
	if from == nil {
		return nil, fmt.Errorf("no release contains the running Kubernetes %s", w.World.Current.Kubernetes)
	}
	all, err := firstSuccess(ctx, metricsInterval, func(ctx context.Context) ([]Result, error) {
		stream, err := client.Clientset().CoreV1().RESTClient().Get().AbsPath("/metrics").Stream(ctx)
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		return requestedRemoved(stream, int(to.Minor()))
	})
	if err != nil {
		return nil, fmt.Errorf("read the metrics of the API server: %w", err)
	}
	for _, r := range removals(int(from.Minor()), int(to.Minor())) {
		found, err := writtenAs(ctx, client, r)
		if err != nil {
			return append(all, unknown(r.Removed.String(), err)), nil
		}
		all = append(all, found...)
	}
	for _, g := range goneBetween(int(from.Minor()), int(to.Minor())) {
		found, err := objectsOf(ctx, client, g)
		if err != nil {
			return append(all, unknown(g.resource.GroupResource().String(), err)), nil
		}
		all = append(all, found...)
	}
	return orOkay(all, "no request since the start of the API server used an API that Kubernetes %s removes", to), nil
}

// metricsInterval is the time after which the metrics are requested again, in
// parallel. For the metrics, an API server reads the size of one etcd address at
// random. Of the two addresses of PAI, one has no member, which the API server
// detects after 20 s (k8s.io/apiserver, storagebackend/factory/etcd3.go).
const metricsInterval = time.Second

// firstSuccess calls f at every interval, in parallel with the calls before, until
// one succeeds.
func firstSuccess[T any](ctx context.Context, interval time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	successes, failures := make(chan T), make(chan error)
	call := func() {
		value, err := f(ctx)
		if err != nil {
			send(ctx, failures, err)
		} else {
			send(ctx, successes, value)
		}
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	go call()
	var last error
	for {
		select {
		case value := <-successes:
			return value, nil
		case last = <-failures:
		case <-ticker.C:
			go call()
		case <-ctx.Done():
			var none T
			return none, errors.Join(context.Cause(ctx), last)
		}
	}
}

func send[T any](ctx context.Context, to chan<- T, value T) {
	select {
	case to <- value:
	case <-ctx.Done():
	}
}

var metricLabel = regexp.MustCompile(`(\w+)="([^"]*)"`)

// requestedRemoved parses the metric apiserver_requested_deprecated_apis. It has a
// series for each API that was requested since the start of the API server.
func requestedRemoved(metrics io.Reader, minor int) ([]Result, error) {
	var all []Result
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		series, found := strings.CutPrefix(lines.Text(), "apiserver_requested_deprecated_apis{")
		if !found {
			continue
		}
		set, value, _ := strings.Cut(series, "}")
		l := map[string]string{}
		for _, m := range metricLabel.FindAllStringSubmatch(set, -1) {
			l[m[1]] = m[2]
		}
		if strings.TrimSpace(value) == "0" || l["removed_release"] == "" {
			continue // deprecated, but not removed
		}
		name := strings.TrimSuffix(l["resource"]+"."+l["version"]+"."+l["group"], ".")
		removed, err := version.ParseGeneric(l["removed_release"])
		switch {
		case err != nil:
			all = append(all, unknownf(name, "the API server reports %q as the version that removes it", l["removed_release"]))
		case int(removed.Minor()) <= minor:
			all = append(all, failed(name, "find the client in the audit log of the API server or by its user agent, and use a newer version of the API; the count begins again when the API server starts, so pass --skip-check=deprecated-apis if no client does this any more",
				"requested since the start of the API server, but Kubernetes %s removes it", removed))
		}
	}
	return all, lines.Err()
}

// removal is a version of a kind that Kubernetes removes.
type removal struct {
	Removed schema.GroupVersionKind
	Stays   schema.GroupVersionKind // a version that stays; empty if there is none
	In      int                     // minor
}

// removals lists what Kubernetes removes after one minor and up to another. Its types
// declare their lifecycle.
func removals(after, upTo int) []removal {
	removed := map[schema.GroupVersionKind]int{}
	types := scheme.Scheme.AllKnownTypes()
	for kind := range types {
		object, err := scheme.Scheme.New(kind)
		if err != nil || strings.HasSuffix(kind.Kind, "List") {
			continue
		}
		if lifecycle, ok := object.(interface{ APILifecycleRemoved() (major, minor int) }); ok {
			if _, minor := lifecycle.APILifecycleRemoved(); minor <= upTo {
				removed[kind] = minor
			}
		}
	}
	var all []removal
	for kind, minor := range removed {
		if minor <= after {
			continue // the running version does not have it either
		}
		r := removal{Removed: kind, In: minor}
		for other := range types {
			if _, goes := removed[other]; other.GroupKind() == kind.GroupKind() && !goes && (r.Stays.Empty() || newer(other.Version, r.Stays.Version)) {
				r.Stays = other
			}
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b removal) int { return strings.Compare(a.Removed.String(), b.Removed.String()) })
	return all
}

// gone is an API whose types the libraries of this paictl do not have any more. The
// API server of the minor cannot read its stored objects.
type gone struct {
	resource schema.GroupVersionResource
	in       int // minor
	next     string
}

// gones are all such APIs that a supported upgrade can meet.
var gones = []gone{
	{schema.GroupVersionResource{Group: "scheduling.k8s.io", Version: "v1alpha2", Resource: "workloads"}, 37, "v1beta1"},
	{schema.GroupVersionResource{Group: "scheduling.k8s.io", Version: "v1alpha2", Resource: "podgroups"}, 37, "v1beta1"},
}

func goneBetween(after, upTo int) []gone {
	return slices.DeleteFunc(slices.Clone(gones), func(g gone) bool { return g.in <= after || g.in > upTo })
}

// objectsOf finds the objects of an API that no longer exists. An API server that
// does not serve it, the default for alpha versions, has none.
func objectsOf(ctx context.Context, client apiClient, g gone) ([]Result, error) {
	list, err := client.Dynamic().Resource(g.resource).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", g.resource.Resource, err)
	}
	var all []Result
	for _, o := range list.Items {
		target := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/") + " (" + o.GetKind() + ")"
		all = append(all, failed(target, fmt.Sprintf("delete it; after the upgrade, create it as %s/%s if it is needed", g.resource.Group, g.next),
			"Kubernetes 1.%d cannot read objects of %s", g.in, g.resource.GroupVersion()))
	}
	return all, nil
}

// newer prefers v1 to v1beta2 to v1beta1, as a cluster most likely serves v1.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a > b
}

// writtenAs finds the objects that were written as the removed version. It reads
// them as the version that stays, because a read as the other would count as use.
func writtenAs(ctx context.Context, client apiClient, r removal) ([]Result, error) {
	if r.Stays.Empty() {
		return nil, nil // only the metrics show its use
	}
	resource, _ := meta.UnsafeGuessKindToResource(r.Stays)
	list, err := client.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil // not served
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
	}
	var all []Result
	for i := range list.Items {
		all = append(all, writtenBy(&list.Items[i], r)...)
	}
	return all, nil
}

func writtenBy(o *unstructured.Unstructured, r removal) []Result {
	target := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/") + " (" + r.Removed.Kind + ")"
	old, stays := r.Removed.GroupVersion().String(), r.Stays.GroupVersion().String()
	var applied runtime.TypeMeta
	if text := o.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]; text != "" && json.Unmarshal([]byte(text), &applied) == nil && applied.APIVersion == old {
		return []Result{failed(target, "change the file of the object to "+stays+", and apply it again",
			"applied from a file with %s, which Kubernetes 1.%d removes", old, r.In)}
	}
	for _, e := range o.GetManagedFields() {
		if e.APIVersion == old {
			return []Result{warning(target, "make sure that "+e.Manager+" can use "+stays,
				"written by %s as %s, which Kubernetes 1.%d removes", e.Manager, old, r.In)}
		}
	}
	return nil
}
