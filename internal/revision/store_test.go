package revision

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

func files(text string) map[string][]byte {
	return map[string][]byte{"layout.yaml": []byte(text), "services-configuration.yaml": []byte("b\xff\n")}
}

func TestStoreKeepsRevisions(t *testing.T) {
	t.Parallel()
	ctx, at := t.Context(), runtest.Dir(t.TempDir())
	s := NewStore(at)
	if r, err := s.Newest(ctx); r != nil || err != nil {
		t.Fatalf("empty store: got %v, %v", r, err)
	}
	for n := range 12 { // past 9, because names are sorted as text
		r, err := s.Add(ctx, n, "ann@host", "  more of it\nand a second line", files(strings.Repeat("x", n)))
		if err != nil || r.Number != n+1 || r.Why != "more of it" {
			t.Fatalf("%v, %v", r.Info, err)
		}
	}
	newest, err := s.Newest(ctx)
	if err != nil || newest.Number != 12 || !newest.Same(files(strings.Repeat("x", 11))) || newest.Same(files("")) {
		t.Errorf("newest: got %v, %v", newest.Info, err)
	}
	all, err := s.List(ctx)
	if err != nil || len(all) != 12 || all[4].Number != 5 {
		t.Errorf("%d revisions, %v", len(all), err)
	}
	if _, err := s.Get(ctx, 13); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("revision 13: %v", err)
	}
	info, err := os.Stat(at.At(s.file(3)))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
}

// Of many parallel pushes one makes the revision, and the others get its author.
func TestAddMakesOneOfManyParallelRevisions(t *testing.T) {
	t.Parallel()
	s := NewStore(runtest.Dir(t.TempDir()))
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Add(t.Context(), 0, "ann@host", "first", files("")) })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		var conflict *ConflictError
		switch {
		case err == nil:
			made++
		case !errors.As(err, &conflict) || conflict.By.Number != 1 || conflict.By.By != "ann@host":
			t.Errorf("got %v, want a conflict with revision 1", err)
		}
	}
	if made != 1 {
		t.Errorf("got %d pushes that made revision 1, want 1", made)
	}
}

func TestAddRefusesContent(t *testing.T) {
	t.Parallel()
	s := NewStore(runtest.Dir(t.TempDir()))
	for name, try := range map[string]struct{ content, want string }{
		"a private key": {"a: 1\nkey: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n", "layout.yaml:3 contains a private key"},
		"too much":      {strings.Repeat("#", maxSize+1), "can have at most"},
	} {
		if _, err := s.Add(t.Context(), 0, "ann@host", "first", files(try.content)); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if r, err := s.Newest(t.Context()); r != nil || err != nil {
		t.Errorf("got stored revision %v, %v", r, err)
	}
}

func TestDamagedFileIsNamed(t *testing.T) {
	t.Parallel()
	ctx, at := t.Context(), runtest.Dir(t.TempDir())
	s := NewStore(at)
	for _, content := range []string{"{", `{"revision": 7}`} {
		if err := at.WriteFile(ctx, s.file(1), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Newest(ctx); err == nil || !strings.Contains(err.Error(), s.file(1)) {
			t.Errorf("%s: %v", content, err)
		}
	}
	if err := at.WriteFile(ctx, s.appliedFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Applied(ctx); err == nil || !strings.Contains(err.Error(), s.appliedFile()) {
		t.Errorf("%v", err)
	}
}

func TestMarkApplied(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := NewStore(runtest.Dir(t.TempDir()))
	if a, err := s.Applied(ctx); len(a) != 0 || err != nil {
		t.Fatalf("%v, %v", a, err)
	}
	for _, mark := range []struct {
		number int
		parts  []Part
		want   Applied
	}{
		{3, []Part{Kubernetes, Services}, Applied{Kubernetes: 3, Services: 3}},
		{4, []Part{Services}, Applied{Kubernetes: 3, Services: 4}},
		{5, nil, Applied{Kubernetes: 3, Services: 4}},
		{0, []Part{Services}, Applied{Kubernetes: 3}},
	} {
		if err := s.MarkApplied(ctx, mark.number, pai.Pair{}, mark.parts...); err != nil {
			t.Fatal(err)
		}
		a, err := s.Applied(ctx)
		if err != nil || len(a) != len(mark.want) || a[Kubernetes] != mark.want[Kubernetes] || a[Services] != mark.want[Services] {
			t.Errorf("after %d for %v: %v, %v", mark.number, mark.parts, a, err)
		}
	}
	if numbers, err := s.numbers(ctx); len(numbers) != 0 || err != nil {
		t.Errorf("got revisions %v, %v, want none", numbers, err)
	}
}

func TestBaseIsStoredInTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if b, err := ReadBase(dir); b != (Base{}) || err != nil {
		t.Errorf("directory that was never pushed: got %v, %v", b, err)
	}
	want := Base{"lab", 7}
	for range 2 {
		if err := WriteBase(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := ReadBase(dir); b != want || err != nil {
		t.Errorf("%v, %v", b, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("got files %v, %v, want one", entries, err)
	}
}

// The text of a revision does not contain its files.
func TestInfoHasNoContent(t *testing.T) {
	t.Parallel()
	r := Revision{Info{Number: 1, By: "ann@host", Why: "first"}, files("secret")}
	if strings.Contains(r.String(), "secret") {
		t.Error(r.String())
	}
}

func TestPruneKeepsNewestAndAppliedRevisions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		applied Applied
		limit   int
		want    []int
	}{
		{"none applied", nil, 3, []int{6, 7, 8}},
		{"applied to the parts", Applied{Kubernetes: 2, Services: 4}, 3, []int{2, 4, 6, 7, 8}},
		{"applied and new", Applied{Kubernetes: 7, Services: 8}, 3, []int{6, 7, 8}},
		{"more than there are", nil, 20, []int{1, 2, 3, 4, 5, 6, 7, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, s := t.Context(), NewStore(runtest.Dir(t.TempDir()))
			for n := range 8 {
				if _, err := s.Add(ctx, n, "ann@host", "change", files(strings.Repeat("x", n))); err != nil {
					t.Fatal(err)
				}
			}
			for part, n := range c.applied {
				if err := s.MarkApplied(ctx, n, pai.Pair{}, part); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Prune(ctx, c.limit); err != nil {
				t.Fatal(err)
			}
			all, err := s.List(ctx)
			var got []int
			for _, r := range all {
				got = append(got, r.Number)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got revisions %v, error %v, want %v", got, err, c.want)
			}
			if r, err := s.Add(ctx, 8, "ann@host", "next", files("")); err != nil || r.Number != 9 {
				t.Errorf("got revision %d, error %v, want 9", r.Number, err)
			}
		})
	}
}

// If it is unknown which revisions are applied, all of them stay.
func TestPruneWithDamagedAppliedRemovesNothing(t *testing.T) {
	t.Parallel()
	ctx, at := t.Context(), runtest.Dir(t.TempDir())
	s := NewStore(at)
	for n := range 3 {
		if _, err := s.Add(ctx, n, "ann@host", "change", files(strings.Repeat("x", n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := at.WriteFile(ctx, s.appliedFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.Prune(ctx, 1)
	if all, listed := s.List(ctx); err == nil || listed != nil || len(all) != 3 {
		t.Errorf("got %d revisions, errors %v and %v, want all three", len(all), err, listed)
	}
}

func TestCopyOfPrunedRevisionIsDeleted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		number int
		exist  []int
		limit  int
		want   bool
	}{
		{1, []int{2, 3, 4}, 3, true},
		{1, []int{1, 3, 4, 5}, 3, false}, // it exists
		{1, []int{3, 4}, 3, false},       // it was lost
		{9, []int{2, 3, 4}, 3, false},    // it is newer
		{1, nil, 3, false},
		{999, []int{1000, 1001}, 2, true},
	} {
		if got := isPruned(secretName(c.number), c.exist, c.limit); got != c.want {
			t.Errorf("revision %d beside %v with limit %d: got %v, want %v", c.number, c.exist, c.limit, got, c.want)
		}
	}
}
