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
)

// deprecatedAPIs finds who still uses an API that Kubernetes drops on the way
// to the target: by the API server's own count of requests, and by what
// objects say of how they were written.
func deprecatedAPIs(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	to, err := version.ParseGeneric(w.Target.Kubernetes.Upstream)
	if err != nil {
		return []Result{unknown("", err)}
	}
	from := upstreamOf(w.Releases)[w.World.Current.Kubernetes]
	if from == nil {
		return []Result{unknown("", fmt.Errorf("no release carries Kubernetes %s, which runs", w.World.Current.Kubernetes))}
	}
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	all, err := firstAnswer(ctx, metricsEvery, func(ctx context.Context) ([]Result, error) {
		stream, err := client.Clientset().CoreV1().RESTClient().Get().AbsPath("/metrics").Stream(ctx)
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		return requestedRemoved(stream, int(to.Minor()))
	})
	if err != nil {
		return []Result{unknown("", fmt.Errorf("read the API server's metrics: %w", err))}
	}
	for _, r := range removals(int(from.Minor()), int(to.Minor())) {
		found, err := writtenAs(ctx, client, r)
		if err != nil {
			return append(all, unknown(r.Gone.String(), err))
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		all = append(all, okay("", "nothing was asked of what Kubernetes %s no longer has since the API server started", to))
	}
	return all
}

// metricsEvery is after how long without an answer the metrics are asked for
// once more, beside the first. To make them an API server asks one of etcd's
// addresses, chosen at random, for its size; of PAI's two, one has nobody, which
// it notices after 20 s (k8s.io/apiserver, storagebackend/factory/etcd3.go).
const metricsEvery = time.Second

// firstAnswer asks again and again, each time beside those before, until one
// answers.
func firstAnswer[T any](ctx context.Context, every time.Duration, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer)
	again := time.NewTicker(every)
	defer again.Stop()
	var last error
	for {
		go func() {
			value, err := ask(ctx)
			select {
			case answers <- answer{value, err}:
			case <-ctx.Done():
			}
		}()
		for asked := false; !asked; {
			select {
			case a := <-answers:
				if a.err == nil {
					return a.value, nil
				}
				last = a.err
			case <-again.C:
				asked = true
			case <-ctx.Done():
				var none T
				return none, errors.Join(context.Cause(ctx), last)
			}
		}
	}
}

var metricLabel = regexp.MustCompile(`(\w+)="([^"]*)"`)

// requestedRemoved reads the metric apiserver_requested_deprecated_apis, of
// which a series exists for each API that was asked for since the start.
func requestedRemoved(metrics io.Reader, minor int) ([]Result, error) {
	var all []Result
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ours := strings.CutPrefix(lines.Text(), "apiserver_requested_deprecated_apis{")
		if !ours {
			continue
		}
		set, value, _ := strings.Cut(rest, "}")
		l := map[string]string{}
		for _, m := range metricLabel.FindAllStringSubmatch(set, -1) {
			l[m[1]] = m[2]
		}
		removed, err := version.ParseGeneric(l["removed_release"])
		if strings.TrimSpace(value) == "0" || l["removed_release"] == "" {
			continue // deprecated, and not to be removed
		}
		name := strings.TrimSuffix(l["resource"]+"."+l["version"]+"."+l["group"], ".")
		switch {
		case err != nil:
			all = append(all, unknown(name, fmt.Errorf("when it is removed, the API server calls %q", l["removed_release"])))
		case int(removed.Minor()) <= minor:
			all = append(all, failed(name, "find who asks for it, in the API server's audit log or by its user agent, and let it use the newer version of the API",
				"somebody asked for it since the API server started, and Kubernetes %s no longer has it", removed))
		}
	}
	return all, lines.Err()
}

// removal is a version of a kind that goes away, and one that stays.
type removal struct {
	Gone  schema.GroupVersionKind
	Stays schema.GroupVersionKind // empty where no version stays
	In    int                     // minor
}

// removals lists what Kubernetes drops after one minor up to another, as its
// own types say.
func removals(after, upTo int) []removal {
	gone := map[schema.GroupVersionKind]int{}
	types := scheme.Scheme.AllKnownTypes()
	for kind, t := range types {
		object, err := scheme.Scheme.New(kind)
		if err != nil || t == nil || strings.HasSuffix(kind.Kind, "List") {
			continue
		}
		if lives, ok := object.(interface{ APILifecycleRemoved() (major, minor int) }); ok {
			if _, minor := lives.APILifecycleRemoved(); minor <= upTo {
				gone[kind] = minor
			}
		}
	}
	var all []removal
	for kind, minor := range gone {
		if minor <= after {
			continue // what runs no longer has it either
		}
		r := removal{Gone: kind, In: minor}
		for other := range types {
			if _, goes := gone[other]; other.GroupKind() == kind.GroupKind() && !goes && (r.Stays.Empty() || newer(other.Version, r.Stays.Version)) {
				r.Stays = other
			}
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b removal) int { return strings.Compare(a.Gone.String(), b.Gone.String()) })
	return all
}

// newer prefers v1 to v1beta2 to v1beta1: all that matters is that the choice
// is one that a cluster is likely to serve.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a > b
}

// writtenAs finds the objects that somebody wrote as the version that goes.
// They are read as the version that stays: reading them as the other would
// itself count as use.
func writtenAs(ctx context.Context, client apiClient, r removal) ([]Result, error) {
	if r.Stays.Empty() {
		return nil, nil // only the count of requests tells
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
	target := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/") + " (" + r.Gone.Kind + ")"
	gone := r.Gone.GroupVersion().String()
	var applied runtime.TypeMeta
	if text := o.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]; text != "" && json.Unmarshal([]byte(text), &applied) == nil && applied.APIVersion == gone {
		return []Result{failed(target, "write "+r.Stays.GroupVersion().String()+" into the file that it is applied from, and apply it again",
			"it is applied from a file of %s, which Kubernetes 1.%d no longer has", gone, r.In)}
	}
	for _, e := range o.GetManagedFields() {
		if e.APIVersion == gone {
			return []Result{warning(target, "see that "+e.Manager+" can use "+r.Stays.GroupVersion().String(),
				"%s wrote it as %s, which Kubernetes 1.%d no longer has", e.Manager, gone, r.In)}
		}
	}
	return nil
}
