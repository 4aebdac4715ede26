package kube

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	clientrest "k8s.io/client-go/rest"
	"pgregory.net/rapid"
)

// someList is a list of metadata with everything that metadata can have, and its versions.
func someList(t *rapid.T) (whole, versions *metav1.PartialObjectMetadataList) {
	text := rapid.StringMatching(`[a-zü0-9-]{0,12}`)
	meta := metav1.ListMeta{ResourceVersion: text.Draw(t, "version"), Continue: text.Draw(t, "continue")}
	whole, versions = &metav1.PartialObjectMetadataList{ListMeta: meta}, &metav1.PartialObjectMetadataList{ListMeta: meta}
	whole.APIVersion, whole.Kind = "meta.k8s.io/v1", "PartialObjectMetadataList"
	if rapid.Bool().Draw(t, "remaining") {
		whole.RemainingItemCount = new(int64(7))
	}
	for range rapid.IntRange(0, 4).Draw(t, "items") {
		o := metav1.ObjectMeta{Name: text.Draw(t, "name"), UID: types.UID(text.Draw(t, "uid")), ResourceVersion: text.Draw(t, "version")}
		versions.Items = append(versions.Items, metav1.PartialObjectMetadata{ObjectMeta: o})
		o.Namespace, o.GenerateName, o.Generation = text.Draw(t, "namespace"), "x-", rapid.Int64Range(0, 300).Draw(t, "generation")
		o.Labels, o.CreationTimestamp = map[string]string{"a": text.Draw(t, "label")}, metav1.Unix(rapid.Int64Range(1, 2e9).Draw(t, "created"), 0)
		o.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}}
		whole.Items = append(whole.Items, metav1.PartialObjectMetadata{ObjectMeta: o})
	}
	return whole, versions
}

// The versions of a list are those that the whole list has, in both encodings. An answer
// that is cut off is refused or has fewer objects.
func TestReadVersions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		whole, want := someList(rt)
		var body bytes.Buffer
		if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(whole, &body); err != nil {
			rt.Fatal(err)
		}
		got, err := readVersions(body.Bytes())
		if err != nil || !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		text, err := json.Marshal(whole)
		if err != nil {
			rt.Fatal(err)
		}
		got, err = readVersions(text)
		if err != nil || got.Continue != want.Continue || len(got.Items) != len(want.Items) {
			rt.Fatalf("of JSON: got %+v, %v, want %+v", got, err, want)
		}
		for i := range got.Items {
			if a, b := got.Items[i], want.Items[i]; a.Name != b.Name || a.UID != b.UID || a.ResourceVersion != b.ResourceVersion {
				rt.Fatalf("of JSON: got %+v, want %+v", a, b)
			}
		}
		cut := body.Bytes()[:rapid.IntRange(0, body.Len()-1).Draw(rt, "cut")]
		if list, err := readVersions(cut); err == nil && len(list.Items) > len(want.Items) {
			rt.Fatalf("cut off after %d of %d bytes, the list has %d objects", len(cut), body.Len(), len(list.Items))
		}
	})
}

// The request asks for metadata of the named kind, and an error is that of the API.
func TestListVersionsAsksForMetadata(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if got := req.URL.String(); got != "/apis/g/v1/namespaces/n/things?continue=c&labelSelector=a%3Db&limit=5" && got != "/api/v1/namespaces/n/pods" || req.Header.Get("Accept") != acceptMetadata {
			t.Errorf("asked for %s as %s", got, req.Header.Get("Accept"))
		}
		if req.URL.Path == "/api/v1/namespaces/n/pods" {
			w.WriteHeader(http.StatusGone)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`))
			return
		}
		_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a","uid":"u","resourceVersion":"8"}}]}`))
	}))
	defer server.Close()
	c, err := FromConfig(&clientrest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.ListVersions(t.Context(), schema.GroupVersionResource{Group: "g", Version: "v1", Resource: "things"}, "n", metav1.ListOptions{LabelSelector: "a=b", Limit: 5, Continue: "c"})
	if err != nil || list.ResourceVersion != "9" || len(list.Items) != 1 || list.Items[0].UID != "u" || list.Items[0].ResourceVersion != "8" {
		t.Errorf("got %+v, %v", list, err)
	}
	if _, err := c.ListVersions(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "n", metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
		t.Errorf("got %v", err)
	}
}
