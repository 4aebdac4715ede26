package service

import (
	"encoding/base64"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// stored is what the API returns for applied secrets.
func stored(t *testing.T, objs []*unstructured.Unstructured) []corev1.Secret {
	t.Helper()
	var list []corev1.Secret
	for _, obj := range objs {
		text, _, _ := unstructured.NestedString(obj.Object, "data", recordedKey)
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		s := corev1.Secret{Data: map[string][]byte{recordedKey: data}}
		s.Name, s.Labels, s.Annotations = obj.GetName(), obj.GetLabels(), obj.GetAnnotations()
		list = append(list, s)
	}
	return list
}

func secretOf(name, content string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"name": name}, "replicas": int64(3), "half": 0.5, "stringData": map[string]any{"password": content}}}
}

// The objects that are read have the hash of the recorded ones, for any number
// of parts and any order of the list.
func TestRecordRoundTrip(t *testing.T) {
	noise := make([]byte, 3*recordedPartSize/2) // does not compress: more than one part
	rand.New(rand.NewSource(1)).Read(noise)
	rapid.Check(t, func(rt *rapid.T) {
		var objs []*unstructured.Unstructured
		for i := range rapid.IntRange(1, 4).Draw(rt, "objects") {
			objs = append(objs, secretOf(fmt.Sprint(i), rapid.String().Draw(rt, "content")))
		}
		if rapid.IntRange(0, 9).Draw(rt, "large") == 0 {
			objs = append(objs, secretOf("large", base64.StdEncoding.EncodeToString(noise)))
		}
		want, err := kube.Hash(objs)
		if err != nil {
			rt.Fatal(err)
		}
		secrets, err := recordSecrets(Service{Name: "kueue", Prerequisites: []string{"a"}, JobImpact: pai.ImpactSubmission}, "v0.9", objs)
		if err != nil {
			rt.Fatal(err)
		}
		for _, s := range secrets {
			text, _, _ := unstructured.NestedString(s.Object, "data", recordedKey)
			if s.GetKind() != "Secret" || len(text) > 1<<20 {
				rt.Fatalf("got %s of %d bytes, want a Secret below 1 MiB", s.GetKind(), len(text))
			}
		}
		list := stored(t, secrets)
		slices.Reverse(list)
		records := groupRecorded(list)
		if len(records) != 1 || records[0].release != "v0.9" || records[0].about.Name != "kueue" || !slices.Equal(records[0].about.Prerequisites, []string{"a"}) {
			rt.Fatalf("got %+v, want one record of kueue", records)
		}
		back, err := records[0].objects()
		if err != nil {
			rt.Fatal(err)
		}
		if got, err := kube.Hash(back); err != nil || got != want {
			rt.Fatalf("got hash %s (%v), want %s", got, err, want)
		}
	})
}

func TestRecordIsWholeOrNone(t *testing.T) {
	noise := make([]byte, 2*recordedPartSize)
	rand.New(rand.NewSource(1)).Read(noise)
	secrets, err := recordSecrets(Service{Name: "kueue"}, "v0.9", []*unstructured.Unstructured{secretOf("x", base64.StdEncoding.EncodeToString(noise))})
	if err != nil {
		t.Fatal(err)
	}
	list := stored(t, secrets)
	if len(list) < 3 {
		t.Fatalf("got %d parts, want 3 or more", len(list))
	}
	if records := groupRecorded(list[1:]); len(records) != 0 {
		t.Errorf("got %v for a record without its first part, want none", records)
	}
	list[1].Data[recordedKey] = append([]byte{1}, list[1].Data[recordedKey][1:]...)
	if _, err := groupRecorded(list)[0].objects(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v for a record with a wrong byte, want an error", err)
	}
	huge := make([]byte, (recordedMaxParts+1)*recordedPartSize)
	rand.New(rand.NewSource(1)).Read(huge)
	if _, err := recordSecrets(Service{Name: "x"}, "v0.9", []*unstructured.Unstructured{secretOf("x", base64.StdEncoding.EncodeToString(huge))}); err == nil {
		t.Error("got a record above the limit, want an error")
	}
}

// The applied release and the previous one are kept.
func TestObsoleteRecords(t *testing.T) {
	var have []corev1.Secret
	for _, release := range []string{"v0.9", "v0.10", "v0.8", "v0.11"} {
		for part := range 2 {
			s := corev1.Secret{}
			s.Name = fmt.Sprintf("%s-%d", release, part)
			s.Annotations = map[string]string{recordedRelease: release, recordedPart: fmt.Sprint(part)}
			have = append(have, s)
		}
	}
	var gone []string
	for _, s := range obsolete(have, "v0.11", 1) {
		gone = append(gone, s.Name)
	}
	if want := []string{"v0.9-0", "v0.9-1", "v0.8-0", "v0.8-1", "v0.11-1"}; !slices.Equal(gone, want) {
		t.Errorf("got %v, want %v", gone, want)
	}
}
