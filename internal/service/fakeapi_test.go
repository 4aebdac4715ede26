package service

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
)

// readsOfARollout is how often a workload is read until it has rolled out without a watch.
const readsOfARollout = 12

// fakeAPI is an API server that stores objects and counts requests. A workload that is applied
// has rolled out once someone watches it, or reads it often. Everything else is ready at once.
type fakeAPI struct {
	kinds []kube.Ref // with namespace if objects of the kind have one

	// refuse is a resource whose objects it refuses to apply; empty for none.
	refuse string

	mu      sync.Mutex
	version int
	objects map[string]map[string]any // by group, resource, namespace, and name
	asked   map[string]int            // by verb and resource
	reads   map[string]int            // of each object since it was stored
	stored  []string                  // names of what was applied, in this order
}

// newFakeAPI starts an API server that serves the kinds of these objects.
func newFakeAPI(t *testing.T, objs []*unstructured.Unstructured) (*fakeAPI, *kube.Client) {
	t.Helper()
	a := &fakeAPI{objects: map[string]map[string]any{}, asked: map[string]int{}, reads: map[string]int{}}
	for _, o := range append(objs, newObject("v1", "ConfigMap", "pai-system"), newObject("v1", "Secret", "pai-system"), newObject("v1", "Namespace", "")) {
		r := kube.RefOf(o)
		r.Name = ""
		if !slices.ContainsFunc(a.kinds, func(k kube.Ref) bool { return k.Group == r.Group && k.Kind == r.Kind }) {
			a.kinds = append(a.kinds, r)
		}
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	client, err := kube.FromConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return a, client
}

func newObject(version, kind, namespace string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind}}
	o.SetNamespace(namespace)
	return o
}

// requests are those since the last call, without discovery.
func (a *fakeAPI) requests() (asked map[string]int, total int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked, a.asked = a.asked, map[string]int{}
	for _, n := range asked {
		total += n
	}
	return asked, total
}

// applied are the names of the objects that were applied, in this order.
func (a *fakeAPI) applied() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.stored)
}

// apiPath is what a request is about.
type apiPath struct{ group, resource, namespace, name string }

func (p apiPath) key() string {
	return strings.Join([]string{p.group, p.resource, p.namespace, p.name}, "|")
}

func pathOf(url string) (p apiPath) {
	parts := strings.Split(strings.Trim(url, "/"), "/")
	if parts[0] == "apis" {
		p.group, parts = parts[1], parts[1:]
	}
	parts = parts[2:]
	if parts[0] == "namespaces" && len(parts) > 2 {
		p.namespace, parts = parts[1], parts[2:]
	}
	p.resource = parts[0]
	if len(parts) > 1 {
		p.name = parts[1]
	}
	return p
}

func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api" || r.URL.Path == "/apis" {
		w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		_ = json.NewEncoder(w).Encode(a.discovery(r.URL.Path == "/api"))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := pathOf(r.URL.Path)
	query, held := r.URL.Query(), a.objects[p.key()]
	verb := strings.ToLower(r.Method)
	if r.Method == http.MethodGet && p.name == "" {
		verb = "list"
	}
	if query.Get("watch") == "true" {
		verb = "watch"
	}
	a.asked[verb+" "+p.resource]++
	w.Header().Set("Content-Type", "application/json")
	switch {
	case verb == "patch" && p.resource == a.refuse:
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`))
	case verb == "watch":
		p.name = strings.TrimPrefix(query.Get("fieldSelector"), "metadata.name=")
		if held = a.objects[p.key()]; held != nil {
			a.rollOut(held)
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": held})
		}
	case verb == "list":
		_ = json.NewEncoder(w).Encode(a.list(p, query.Get("labelSelector")))
	case verb == "patch" && strings.Contains(r.Header.Get("Content-Type"), "apply"), verb == "post":
		var next map[string]any
		if err := json.Unmarshal(body, &next); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if held == nil {
			w.WriteHeader(http.StatusCreated)
		}
		_ = json.NewEncoder(w).Encode(a.store(p, held, next))
	case held == nil:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
	case verb == "patch":
		was, _ := json.Marshal(held)
		is, err := jsonpatch.MergePatch(was, body)
		var next map[string]any
		if err == nil {
			err = json.Unmarshal(is, &next)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(a.store(p, held, next))
	case verb == "delete":
		delete(a.objects, p.key())
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	default:
		if a.reads[p.key()]++; a.reads[p.key()] == readsOfARollout && strings.HasPrefix(p.key(), "apps|") {
			a.rollOut(held)
		}
		_ = json.NewEncoder(w).Encode(held)
	}
}

// store stores an object as its controller leaves it, except that a workload rolls out.
func (a *fakeAPI) store(p apiPath, held, next map[string]any) map[string]any {
	o := &unstructured.Unstructured{Object: next}
	if p.name == "" { // a POST
		p.name = o.GetName()
	}
	a.version++
	o.SetResourceVersion(fmt.Sprint(a.version))
	o.SetUID("uid")
	o.SetGeneration(1)
	if held != nil {
		o.SetGeneration((&unstructured.Unstructured{Object: held}).GetGeneration() + 1)
	}
	set := func(value any, fields ...string) {
		if err := unstructured.SetNestedField(next, value, fields...); err != nil {
			panic(err)
		}
	}
	switch o.GetKind() {
	case "CustomResourceDefinition":
		set([]any{map[string]any{"type": "Established", "status": "True"}}, "status", "conditions")
		if strategy, _, _ := unstructured.NestedString(next, "spec", "conversion", "strategy"); strategy == "Webhook" {
			set("QUJD", "spec", "conversion", "webhook", "clientConfig", "caBundle")
		}
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		webhooks, _, _ := unstructured.NestedSlice(next, "webhooks")
		for _, w := range webhooks {
			if err := unstructured.SetNestedField(w.(map[string]any), "QUJD", "clientConfig", "caBundle"); err != nil {
				panic(err)
			}
		}
		set(webhooks, "webhooks")
	case "ResourceQuota":
		hard, _, _ := unstructured.NestedMap(next, "spec", "hard")
		set(hard, "status", "used")
	case "Deployment", "DaemonSet":
		set(o.GetGeneration()-1, "status", "observedGeneration")
	}
	a.objects[p.key()], a.reads[p.key()] = next, 0
	a.stored = append(a.stored, p.name)
	return next
}

// rollOut completes the rollout of a workload.
func (a *fakeAPI) rollOut(held map[string]any) {
	o := &unstructured.Unstructured{Object: held}
	a.version++
	o.SetResourceVersion(fmt.Sprint(a.version))
	n, found, _ := unstructured.NestedFieldNoCopy(held, "spec", "replicas")
	if !found {
		n = 1
	}
	held["status"] = map[string]any{"observedGeneration": o.GetGeneration(), "replicas": n, "updatedReplicas": n, "readyReplicas": n, "availableReplicas": n,
		"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1,
		"conditions": []any{map[string]any{"type": "Available", "status": "True"}, map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}}}
}

func (a *fakeAPI) list(p apiPath, selector string) map[string]any {
	selected, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	items := []any{}
	for key, held := range a.objects {
		parts := strings.Split(key, "|")
		ofIt := parts[0] == p.group && parts[1] == p.resource && (p.namespace == "" || parts[2] == p.namespace)
		if ofIt && selected.Matches(labels.Set((&unstructured.Unstructured{Object: held}).GetLabels())) {
			items = append(items, held)
		}
	}
	return map[string]any{"kind": "List", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": fmt.Sprint(a.version)}, "items": items}
}

// discovery lists the kinds of the core group, or of all others.
func (a *fakeAPI) discovery(core bool) map[string]any {
	byGroup := map[string][]any{}
	versions := map[string]string{}
	for _, k := range a.kinds {
		if (k.Group == "") != core {
			continue
		}
		plural, singular := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind})
		scope := "Cluster"
		if k.Namespace != "" {
			scope = "Namespaced"
		}
		versions[k.Group] = k.Version
		byGroup[k.Group] = append(byGroup[k.Group], map[string]any{"resource": plural.Resource, "singularResource": singular.Resource, "scope": scope,
			"responseKind": map[string]any{"group": k.Group, "version": k.Version, "kind": k.Kind}, "verbs": []string{"get", "list", "watch", "patch"}})
	}
	items := []any{}
	for group, resources := range byGroup {
		items = append(items, map[string]any{"metadata": map[string]any{"name": group},
			"versions": []any{map[string]any{"version": versions[group], "resources": resources}}})
	}
	return map[string]any{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}
}
