package rest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// stored is an object of a storedKind.
type stored struct {
	name    string
	version version
	value   string
}

// storedKind is what an API server has of a kind, with every version of it. Its lists have
// pages of one moment.
type storedKind struct {
	now, made int
	at        map[int]map[string]stored
	// during is called before each request.
	during      func()
	lists, gets int
}

func newStoredKind() *storedKind {
	return &storedKind{now: 1, at: map[int]map[string]stored{1: {}}, during: func() {}}
}

// change makes the next version: do changes its objects.
func (s *storedKind) change(do func(objects map[string]stored)) {
	next := maps.Clone(s.at[s.now])
	s.now++
	do(next)
	s.at[s.now] = next
}

// write creates an object or changes it.
func (s *storedKind) write(name string) {
	s.change(func(objects map[string]stored) {
		s.made++
		uid := objects[name].version.uid
		if uid == "" {
			uid = types.UID(fmt.Sprint("uid-", s.made))
		}
		objects[name] = stored{name, version{uid, strconv.Itoa(s.now)}, fmt.Sprint("value-", s.made)}
	})
}

// page is a page of a list, as an API server makes it.
func (s *storedKind) page(o metav1.ListOptions) (all []stored, page metav1.ListMeta) {
	s.during()
	at, from := s.now, ""
	if o.Continue != "" {
		moment, name, _ := strings.Cut(o.Continue, "/")
		at, _ = strconv.Atoi(moment)
		from = name
	}
	page.ResourceVersion = strconv.Itoa(at)
	for _, name := range slices.Sorted(maps.Keys(s.at[at])) {
		if name < from {
			continue
		}
		if len(all) == int(o.Limit) {
			page.Continue = fmt.Sprintf("%d/%s", at, name)
			return all, page
		}
		all = append(all, s.at[at][name])
	}
	return all, page
}

func (s *storedKind) objects(atOnce int64) objects[stored] {
	return objects[stored]{
		namespace: "one", atOnce: atOnce,
		versions: func(_ context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
			all, page := s.page(o)
			list := &metav1.PartialObjectMetadataList{ListMeta: page}
			for _, one := range all {
				list.Items = append(list.Items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: one.name, UID: one.version.uid, ResourceVersion: one.version.version}})
			}
			return list, nil
		},
		list: func(_ context.Context, o metav1.ListOptions) ([]stored, metav1.ListMeta, error) {
			s.lists++
			all, page := s.page(o)
			return all, page, nil
		},
		get: func(_ context.Context, name string) (stored, error) {
			s.gets++
			s.during()
			one, ok := s.at[s.now][name]
			if !ok {
				return one, apierrors.NewNotFound(schema.GroupResource{Resource: "things"}, name)
			}
			return one, nil
		},
	}
}

func newUnchangedStored() *unchanged[stored] {
	return newUnchanged(func(s stored) version { return s.version })
}

// A list that reads again only what changed is the one that reads everything. Of what
// changes while it is made, it has a state of that time, and what does not change once.
func TestUnchangedListIsTheWholeList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s, u := newStoredKind(), newUnchangedStored()
		from := s.objects(rapid.Int64Range(1, 120).Draw(rt, "versions at once"))
		name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("object-%02d", rapid.IntRange(0, 90).Draw(t, "object")) })
		some := func() {
			n := name.Draw(rt, "name")
			if rapid.IntRange(0, 3).Draw(rt, "what") > 0 {
				s.write(n)
			} else {
				s.change(func(objects map[string]stored) { delete(objects, n) })
			}
		}
		for range rapid.IntRange(0, 80).Draw(rt, "objects") {
			s.write(name.Draw(rt, "name"))
		}
		last := 0
		for range rapid.IntRange(1, 6).Draw(rt, "lists") {
			for range rapid.IntRange(0, 8).Draw(rt, "changes before") {
				some()
			}
			// Versions after a restore are those of other objects. A server notices it at a list
			// with a lower version than the one before.
			if last > 5 && rapid.IntRange(0, 4).Draw(rt, "restore") == 0 {
				s.now = last - 4
				s.write(name.Draw(rt, "name"))
			}
			during := rapid.IntRange(0, 2).Draw(rt, "changes during") == 0
			s.during = func() {
				if during && rapid.Bool().Draw(rt, "now") {
					some()
				}
			}
			start, got := s.now, map[string]stored{}
			last = start
			selector := rapid.SampledFrom([]string{pai.LabelJob, "other"}).Draw(rt, "selector")
			err := u.each(t.Context(), selector, from, func(one stored) error {
				if _, twice := got[one.name]; twice {
					rt.Fatalf("%s is listed twice", one.name)
				}
				got[one.name] = one
				return nil
			})
			if err != nil {
				rt.Fatal(err)
			}
			s.during = func() {}
			for n, one := range got {
				had := false
				for at := start; at <= s.now; at++ {
					had = had || s.at[at][n] == one
				}
				if !had {
					rt.Fatalf("%s is listed as %+v, and was not so since the list began", n, one)
				}
			}
			for n, one := range s.at[start] {
				stays := true
				for at := start; at <= s.now; at++ {
					stays = stays && s.at[at][n] == one
				}
				if stays && got[n] != one {
					rt.Fatalf("%s is %+v, and is listed as %+v", n, one, got[n])
				}
			}
		}
	})
}

// What did not change is not read again; what was deleted is dropped.
func TestUnchangedIsReadOnce(t *testing.T) {
	t.Parallel()
	s, u := newStoredKind(), newUnchangedStored()
	from := s.objects(100)
	for i := range 200 {
		s.write(fmt.Sprintf("object-%03d", i))
	}
	list := func(selector string) (n int) {
		s.lists, s.gets = 0, 0
		if err := u.each(t.Context(), selector, from, func(stored) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := list(pai.LabelJob); n != 200 || s.lists != 4 || s.gets != 0 {
		t.Errorf("the first list has %d objects of %d pages and %d requests", n, s.lists, s.gets)
	}
	if n := list(pai.LabelJob); n != 200 || s.lists != 0 || s.gets != 0 {
		t.Errorf("the second list has %d objects of %d pages and %d requests", n, s.lists, s.gets)
	}
	s.write("object-007")
	s.change(func(objects map[string]stored) { delete(objects, "object-008") })
	if n := list("other"); n != 199 || s.lists != 0 || s.gets != 1 || u.count != 200 {
		t.Errorf("a list after a change has %d objects of %d pages and %d requests, and %d are kept", n, s.lists, s.gets, u.count)
	}
	if n := list(pai.LabelJob); n != 199 || s.gets != 0 || u.count != 199 || len(u.known["one"]) != 199 {
		t.Errorf("a list of all has %d objects and %d requests, and %d are kept", n, s.gets, u.count)
	}
}

// A cluster with many objects does not fill the memory of the server.
func TestUnchangedIsBounded(t *testing.T) {
	t.Parallel()
	u := newUnchangedStored()
	for i := range maxUnchanged + 10 {
		u.put(strconv.Itoa(i%3), stored{version: version{types.UID(strconv.Itoa(i)), "1"}})
	}
	if u.count != maxUnchanged {
		t.Errorf("%d objects are kept", u.count)
	}
	u.put("0", stored{version: version{"0", "2"}, value: "newer"})
	if one, ok := u.get("0", version{"0", "2"}); !ok || one.value != "newer" {
		t.Errorf("a kept object is %+v, %t", one, ok)
	}
}

// A pod that is kept has no more of its specification than the status of its job depends on.
func TestKeptPodsAreSmall(t *testing.T) {
	t.Parallel()
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{pai.LabelJob: "x"}, ManagedFields: []metav1.ManagedFieldsEntry{{}}},
		Spec: corev1.PodSpec{NodeName: "one", NodeSelector: map[string]string{pai.LabelMachineSKU: "v100", "other": "x"}, Containers: []corev1.Container{{}}}}
	want := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{pai.LabelJob: "x"}},
		Spec: corev1.PodSpec{NodeName: "one", NodeSelector: map[string]string{pai.LabelMachineSKU: "v100"}}}
	if got := withoutSpec(&p); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
