package operation

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// fakeReports are the published reports of a test.
type fakeReports struct {
	published map[string]pai.PublishedReport
	written   []string
	fails     error // of every write
}

func (f *fakeReports) List(context.Context) (map[string]metav1.ObjectMeta, error) {
	list := map[string]metav1.ObjectMeta{}
	for id := range f.published {
		list[id] = metav1.ObjectMeta{Name: id}
	}
	return list, nil
}

func (f *fakeReports) Write(_ context.Context, r pai.PublishedReport) error {
	if f.fails == nil {
		f.published[r.ID], f.written = r, append(f.written, r.ID)
	}
	return f.fails
}

func (f *fakeReports) Remove(_ context.Context, o metav1.ObjectMeta) error {
	delete(f.published, o.Name)
	return nil
}

func succeeded() pai.Operation {
	return pai.Operation{Verb: pai.VerbUpgrade, Outcome: pai.OutcomeSucceeded}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	h := newHistory(t, succeeded(), succeeded(), succeeded())
	f := &fakeReports{published: map[string]pai.PublishedReport{}}
	last := func() string { return h.ids[len(h.ids)-1] }
	expect := func(what string, written ...string) {
		t.Helper()
		if err := publish(t.Context(), f, h.journal(), last()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(f.written)
		if !slices.Equal(f.written, written) {
			t.Errorf("%s: wrote %v, want %v", what, f.written, written)
		}
		f.written = nil
	}
	expect("all that are missing", h.ids...)
	expect("the same operation again", last())
	if err := h.add(t, succeeded()); err != nil {
		t.Fatal(err)
	}
	f.fails = errors.New("no API")
	if err := publish(t.Context(), f, h.journal(), last()); !errors.Is(err, f.fails) {
		t.Errorf("got %v, want the failed write", err)
	}
	f.fails = nil
	if err := h.add(t, succeeded()); err != nil {
		t.Fatal(err)
	}
	expect("one that failed before", h.ids[3:]...)

	delete(f.published, h.ids[4]) // a restore of etcd
	delete(f.published, h.ids[3])
	if err := h.add(t, succeeded()); err != nil {
		t.Fatal(err)
	}
	expect("those that a restore lost", h.ids[3:]...)

	if err := h.journal().Remove(t.Context(), h.ids[:2]); err != nil {
		t.Fatal(err)
	}
	expect("after the journal was pruned", last())
	if got := slices.Sorted(maps.Keys(f.published)); !slices.Equal(got, h.ids[2:]) {
		t.Errorf("got %v, want those of the journal", got)
	}
	for range maxPublished + 3 {
		if err := h.add(t, succeeded()); err != nil {
			t.Fatal(err)
		}
	}
	expect("no more than the limit", h.ids[len(h.ids)-maxPublished:]...)
}

// The report of an operation that was killed is published once it has ended.
func TestPublishLeavesOutWhatHasNotEnded(t *testing.T) {
	t.Parallel()
	h := newHistory(t, succeeded(), pai.Operation{Verb: pai.VerbUpgrade, Outcome: pai.OutcomeRunning})
	f := &fakeReports{published: map[string]pai.PublishedReport{}}
	if err := publish(t.Context(), f, h.journal(), h.ids[0]); err != nil || !slices.Equal(f.written, h.ids[:1]) {
		t.Errorf("wrote %v, %v, want %v", f.written, err, h.ids[:1])
	}
}
