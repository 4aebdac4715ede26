package cluster

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
)

// fakeAPI is an API server that stores objects by their paths. It reads, lists,
// merges, and deletes them, stores approvals, and deletes a pod that is evicted.
type fakeAPI struct {
	mu      sync.Mutex
	objects map[string]string
	evicted []string
}

// newFakeAPI starts an API server and returns its client as Deps have it.
func newFakeAPI(t *testing.T, objects map[string]string) (*fakeAPI, func(context.Context) (*kube.Client, error)) {
	t.Helper()
	a := &fakeAPI{objects: objects}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	client, err := kube.FromConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return a, func(context.Context) (*kube.Client, error) { return client, nil }
}

// set replaces an object.
func (a *fakeAPI) set(t *testing.T, path string, object any) {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects[path] = string(data)
}

func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	switch object, found := a.objects[path]; {
	case r.Method == http.MethodGet && found:
		_, _ = w.Write([]byte(object))
	case r.Method == http.MethodPatch && found:
		var patch json.RawMessage
		err := json.NewDecoder(r.Body).Decode(&patch)
		merged := []byte(nil)
		if err == nil {
			merged, err = jsonpatch.MergePatch([]byte(object), patch)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.objects[path] = string(merged)
		_, _ = w.Write(merged)
	case r.Method == http.MethodDelete && found:
		delete(a.objects, path)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	case r.Method == http.MethodPut && strings.HasSuffix(path, "/approval"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.objects[strings.TrimSuffix(path, "/approval")] = string(body)
		_, _ = w.Write(body)
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/eviction"):
		pod := strings.TrimSuffix(path, "/eviction")
		delete(a.objects, pod)
		a.evicted = append(a.evicted, pod)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	case r.Method == http.MethodGet && lists()[path] != [2]string{}:
		of := lists()[path]
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": of[0], "apiVersion": of[1], "metadata": map[string]any{}, "items": a.list(path, r.URL.Query().Get("labelSelector"))})
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
	}
}

// lists has the kind and version of a list by its path.
func lists() map[string][2]string {
	return map[string][2]string{
		"/api/v1/nodes": {"NodeList", "v1"},
		"/api/v1/pods":  {"PodList", "v1"},
		"/api/v1/namespaces/pai-system/configmaps":                {"ConfigMapList", "v1"},
		"/apis/certificates.k8s.io/v1/certificatesigningrequests": {"CertificateSigningRequestList", "certificates.k8s.io/v1"},
	}
}

func (a *fakeAPI) list(path, selector string) []json.RawMessage {
	selected, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	kind := path[strings.LastIndexByte(path, '/'):] + "/"
	items := []json.RawMessage{}
	for name, object := range a.objects {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal([]byte(object), &o); err == nil && strings.Contains(name, kind) && selected.Matches(labels.Set(o.Labels)) {
			items = append(items, json.RawMessage(object))
		}
	}
	return items
}
