package revision

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

func TestAppliedWithVersion(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := NewStore(runtest.Dir(t.TempDir()))
	nine, ten := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, pai.Pair{Services: "v0.10", Kubernetes: "v0.9-pai"}
	start := time.Now()
	var second time.Time
	for i, m := range []struct {
		number int
		pair   pai.Pair
		parts  []Part
	}{{1, nine, []Part{Kubernetes, Services}}, {2, nine, []Part{Services}}, {3, ten, []Part{Services}}, {0, nine, []Part{Services}}, {5, pai.Pair{}, []Part{Kubernetes}}} {
		if err := s.MarkApplied(ctx, m.number, m.pair, m.parts...); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			second = time.Now()
		}
	}
	for _, c := range []struct {
		part    Part
		version pai.AnyVersion
		until   time.Time
		want    int
	}{
		{Services, "v0.9", time.Time{}, 2}, {Services, "v0.9", second, 1}, {Services, "v0.9", start.Add(-time.Hour), 0},
		{Services, "", time.Time{}, 3}, {Services, "", second, 1}, // the services were unknown
		{Services, "v0.10", time.Time{}, 3}, {Services, "v0.8", time.Time{}, 0}, {Kubernetes, "v0.9-pai", time.Time{}, 1},
	} {
		if got, err := s.AppliedWith(ctx, c.part, c.version, c.until); got != c.want || err != nil {
			t.Errorf("%s with %s until %s: got %d, %v, want %d", c.part, c.version, c.until, got, err, c.want)
		}
	}
}

// A cluster of an older paictl has no marks: what it applied has the versions that
// it recorded, and counts as older than any time.
func TestNoteVersionsOfOlderProgram(t *testing.T) {
	t.Parallel()
	ctx, at := t.Context(), runtest.Dir(t.TempDir())
	s := NewStore(at)
	if err := at.WriteFile(ctx, s.appliedFile(), []byte(`{"kubernetes":2,"services":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, recorded := range []pai.Pair{{Services: "v0.9", Kubernetes: "v0.9-pai"}, {Services: "v0.10", Kubernetes: "v0.10-pai"}} {
		if err := s.NoteVersions(ctx, recorded); err != nil { // the second adds nothing
			t.Fatal(err)
		}
	}
	for version, want := range map[pai.AnyVersion]int{"v0.9": 1, "v0.10": 0} {
		if got, err := s.AppliedWith(ctx, Services, version, time.Now().Add(-time.Hour)); got != want || err != nil {
			t.Errorf("services %s: got %d, %v, want %d", version, got, err, want)
		}
	}
	if got, err := s.AppliedWith(ctx, Kubernetes, "v0.9-pai", time.Time{}); got != 2 || err != nil {
		t.Errorf("kubernetes: got %d, %v, want 2", got, err)
	}
}

// What a rollback would return to stays. A damaged history removes nothing.
func TestPruneKeepsRevisionsOfEarlierVersions(t *testing.T) {
	t.Parallel()
	ctx, at := t.Context(), runtest.Dir(t.TempDir())
	s := NewStore(at)
	for n := range 6 {
		if _, err := s.Add(ctx, n, "ann@host", "change", files(strings.Repeat("x", n))); err != nil {
			t.Fatal(err)
		}
	}
	for number, version := range map[int]pai.ServicesVersion{2: "v0.9", 4: "v0.10"} {
		if err := s.MarkApplied(ctx, number, pai.Pair{Services: version}, Services); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Prune(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if got, err := s.numbers(ctx); err != nil || !slices.Equal(got, []int{2, 4, 6}) {
		t.Errorf("got revisions %v, %v, want 2, 4, and 6", got, err)
	}
	if err := at.WriteFile(ctx, s.marksFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(ctx, 1); err == nil || !strings.Contains(err.Error(), s.marksFile()) {
		t.Errorf("got %v, want an error about %s", err, s.marksFile())
	}
	if got, err := s.numbers(ctx); err != nil || len(got) != 3 {
		t.Errorf("got revisions %v, %v, want all three", got, err)
	}
}

func TestMarksAreBounded(t *testing.T) {
	t.Parallel()
	s := NewStore(runtest.Dir(t.TempDir()))
	for n := range maxMarks + 20 {
		if err := s.MarkApplied(t.Context(), n+1, pai.Pair{Services: "v0.9"}, Services); err != nil {
			t.Fatal(err)
		}
	}
	marks, err := s.marks(t.Context())
	if err != nil || len(marks) != maxMarks || marks[maxMarks-1].Revision != maxMarks+20 {
		t.Errorf("got %d marks, the last %+v, error %v", len(marks), marks[len(marks)-1], err)
	}
}
