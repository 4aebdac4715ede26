//go:build scale

package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"pai.dev/pai/internal/pai"
)

// admins is how many administrators there are.
const admins = 40

func adminName(i int) string { return fmt.Sprintf("admin-%02d", i) }

func tokenOf(user string) string { return "pai_token-of-" + user }

// fakeAPI answers what the REST server reads of the cluster, as an API server encodes it:
// lists in pages, pods as protobuf, and large answers compressed. It keeps each page that
// was asked for once: what a real API server takes for them is not measured here.
type fakeAPI struct {
	url  string
	jobs []clusterJob
	// named has the JobSets by namespace and name.
	named map[string][]byte

	mu    sync.Mutex
	pages map[string]page
}

// page is an encoded answer.
type page struct {
	contentType string
	body        []byte
	compressed  bool
}

func newAPI(t *testing.T, jobs int) *fakeAPI {
	t.Helper()
	a := &fakeAPI{jobs: clusterJobs(t, jobs), named: map[string][]byte{}, pages: map[string]page{}}
	for _, j := range a.jobs {
		a.named[j.set.GetNamespace()+"/"+j.set.GetName()] = encodeJSON(t, j.set.Object)
	}
	server := httptest.NewServer(a.routes(t))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *fakeAPI) routes(t *testing.T) http.Handler {
	t.Helper()
	users := encodeJSON(t, usersOf(t))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/"+pai.SystemNamespace+"/secrets/"+pai.UsersSecret, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, page{contentType: "application/json", body: users})
	})
	mux.HandleFunc("GET /apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets", func(w http.ResponseWriter, req *http.Request) {
		a.list(w, req, setsPage)
	})
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", func(w http.ResponseWriter, req *http.Request) { a.list(w, req, podsPage) })
	for _, kind := range []string{"events", "configmaps"} {
		mux.HandleFunc("GET /api/v1/namespaces/{namespace}/"+kind, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, page{contentType: "application/json", body: []byte(`{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"1"},"items":[]}`)})
		})
	}
	mux.HandleFunc("GET /apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets/{name}", func(w http.ResponseWriter, req *http.Request) {
		if set, ok := a.named[req.PathValue("namespace")+"/"+req.PathValue("name")]; ok {
			answer(w, page{contentType: "application/json", body: set})
			return
		}
		notFound(w)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { notFound(w) })
	return mux
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)) // the server left
}

// list answers a page of the objects of jobs that a selector selects.
func (a *fakeAPI) list(w http.ResponseWriter, req *http.Request, encode func(q pageQuery) (page, error)) {
	q, metadata := req.URL.Query(), strings.Contains(req.Header.Get("Accept"), "as=PartialObjectMetadataList")
	compress := strings.Contains(req.Header.Get("Accept-Encoding"), "gzip")
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprint(metadata, compress, req.URL)
	p, known := a.pages[key]
	if !known {
		user, ofUser := strings.CutPrefix(q.Get("labelSelector"), pai.LabelUser+"=")
		name, ofJob := strings.CutPrefix(q.Get("labelSelector"), pai.LabelJob+"=")
		var selected []clusterJob
		for _, j := range a.jobs {
			labels := j.set.GetLabels()
			if j.set.GetNamespace() == req.PathValue("namespace") && (!ofUser || labels[pai.LabelUser] == user) && (!ofJob || labels[pai.LabelJob] == name) {
				selected = append(selected, j)
			}
		}
		from, _ := strconv.Atoi(q.Get("continue")) // empty is the first page
		limit, _ := strconv.Atoi(q.Get("limit"))
		var err error
		if p, err = encode(pageQuery{selected, from, limit, metadata}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if compress {
			p = compressed(p)
		}
		a.pages[key] = p
	}
	answer(w, p)
}

// next is where a page ends, and what the next one begins with.
func next(all, from, limit int) (to int, more string) {
	if limit == 0 || from+limit >= all {
		return all, ""
	}
	return from + limit, strconv.Itoa(from + limit)
}

// pageQuery is what a page has: some of the objects of jobs, or only their metadata.
type pageQuery struct {
	jobs        []clusterJob
	from, limit int
	metadata    bool
}

func setsPage(q pageQuery) (page, error) {
	to, more := next(len(q.jobs), q.from, q.limit)
	items := []any{}
	var metadata []metav1.PartialObjectMetadata
	for _, j := range q.jobs[q.from:to] {
		items = append(items, j.set.Object)
		var m metav1.PartialObjectMetadata
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(j.set.Object, &m); err != nil {
			return page{}, err
		}
		metadata = append(metadata, m)
	}
	if q.metadata {
		return metadataPage(metadata, more)
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSetList", "metadata": map[string]any{"resourceVersion": "1", "continue": more}, "items": items})
	return page{contentType: "application/json", body: body}, err
}

func podsPage(q pageQuery) (page, error) {
	var pods []corev1.Pod
	for _, j := range q.jobs {
		pods = append(pods, j.pods...)
	}
	to, more := next(len(pods), q.from, q.limit)
	if q.metadata {
		var metadata []metav1.PartialObjectMetadata
		for _, p := range pods[q.from:to] {
			metadata = append(metadata, metav1.PartialObjectMetadata{ObjectMeta: p.ObjectMeta})
		}
		return metadataPage(metadata, more)
	}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1", Continue: more}, Items: pods[q.from:to]}
	var body bytes.Buffer
	encoder := scheme.Codecs.EncoderForVersion(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), corev1.SchemeGroupVersion)
	err := encoder.Encode(list, &body)
	return page{contentType: runtime.ContentTypeProtobuf, body: body.Bytes()}, err
}

func metadataPage(items []metav1.PartialObjectMetadata, more string) (page, error) {
	list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1", Continue: more}, Items: items}
	var body bytes.Buffer
	err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(list, &body)
	return page{contentType: runtime.ContentTypeProtobuf, body: body.Bytes()}, err
}

// compressed does what an API server does with answers of more than 128 KiB.
func compressed(p page) page {
	if len(p.body) <= 128<<10 {
		return p
	}
	var small bytes.Buffer
	w, _ := gzip.NewWriterLevel(&small, gzip.BestSpeed) // the level is valid
	_, _ = w.Write(p.body)                              // memory does not fail
	_ = w.Close()
	return page{p.contentType, small.Bytes(), true}
}

func answer(w http.ResponseWriter, p page) {
	w.Header().Set("Content-Type", p.contentType)
	if p.compressed {
		w.Header().Set("Content-Encoding", "gzip")
	}
	_, _ = w.Write(p.body) // an error means that the server left
}

// usersOf is the Secret of the users. Each has a token.
func usersOf(t *testing.T) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pai.SystemNamespace, Name: pai.UsersSecret, ResourceVersion: "1"}, Data: map[string][]byte{}}
	add := func(name string, admin bool) {
		s.Data["user."+name] = encodeJSON(t, map[string]any{"admin": admin, "tokens": []any{map[string]any{
			"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(tokenOf(name)))), "created": "2026-01-01T00:00:00Z"}}})
	}
	for i := range admins {
		add(adminName(i), true)
	}
	for i := range users {
		add(userName(i), false)
	}
	return s
}

func encodeJSON(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fieldsOf is what managedFields have of an object: the names of all its fields.
func fieldsOf(value any) map[string]any {
	fields := map[string]any{}
	switch value := value.(type) {
	case map[string]any:
		for name, v := range value {
			fields["f:"+name] = fieldsOf(v)
		}
	case []any:
		for i, v := range value {
			fields[fmt.Sprintf(`k:{"name":"%d"}`, i)] = fieldsOf(v)
		}
	}
	return fields
}

// managed adds the managedFields of the writer of an object.
func managed(obj *unstructured.Unstructured, writer string) {
	fields := fieldsOf(map[string]any{"metadata": map[string]any{"labels": obj.Object["metadata"].(map[string]any)["labels"]}, "spec": obj.Object["spec"]})
	obj.Object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{
		"apiVersion": obj.GetAPIVersion(), "fieldsType": "FieldsV1", "manager": writer, "operation": "Update", "time": "2026-11-29T00:00:00Z", "fieldsV1": fields}}
}
