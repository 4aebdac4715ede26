package configsync

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run/runtest"
)

// shared is a cluster's revisions, and folders of two operators.
type shared struct {
	t     *testing.T
	store *revision.Store
	root  string
}

func newShared(t *testing.T) shared {
	t.Helper()
	return shared{t, revision.NewStore(runtest.Dir(t.TempDir())), t.TempDir()}
}

// folder makes a folder with a configuration of the newest schema.
func (s shared) folder(name string) string {
	s.t.Helper()
	dir := filepath.Join(s.root, name)
	c := config.New("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"},
		[]config.Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: config.RoleControlPlane, Password: "hunter2"}},
		[]string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
	if err := config.Write(dir, c); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// edit replaces a text in one file of a folder.
func (s shared) edit(dir, file, from, to string) {
	s.t.Helper()
	path := filepath.Join(dir, file)
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data, []byte(from)) {
		s.t.Fatalf("%s has no %q: %v", path, from, err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(from), []byte(to), 1), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s shared) push(dir string, over int) (int, error) {
	return push(s.t.Context(), s.store, dir, "lab", "a test", over)
}

// pushes is push where nothing stands in the way.
func (s shared) pushes(dir string, want int) {
	s.t.Helper()
	if n, err := s.push(dir, 0); n != want || err != nil {
		s.t.Fatalf("pushed as %d, want %d: %v", n, want, err)
	}
}

func (s shared) refused(err error, says string) {
	s.t.Helper()
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), says) {
		s.t.Errorf("want a refusal that says %q: %v", says, err)
	}
}

func TestNobodyUndoesWhatAnotherPushed(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann, bob := s.folder("ann"), s.folder("bob")
	s.pushes(ann, 1)
	s.pushes(ann, 1) // the same folder again is the same revision

	// Bob's folder means the same, so it is revision 1 too; then both change it.
	s.pushes(bob, 1)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(ann, 2)
	s.edit(bob, config.ServicesFile, "server-port: 9186", "server-port: 9188")
	_, err := s.push(bob, 0)
	s.refused(err, "is of revision 1, and since then there is revision 2")
	if _, _, err := Pull(t.Context(), s.store, bob, 0, false); err != nil {
		s.refused(err, "has changes that were never pushed")
	} else {
		t.Error("changes that were never pushed were replaced")
	}

	r, former, err := Pull(t.Context(), s.store, bob, 0, true)
	if err != nil || r.Number != 2 {
		t.Fatalf("%v, %v", r.Info, err)
	}
	kept, err := os.ReadFile(filepath.Join(former, config.ServicesFile))
	if err != nil || !bytes.Contains(kept, []byte("server-port: 9188")) {
		t.Errorf("bob's change is not in %q: %v", former, err)
	}
	s.edit(bob, config.ServicesFile, "server-port: 9187", "server-port: 9189")
	s.pushes(bob, 3)
}

func TestFolderOfNobodyKnowsWhere(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.pushes(s.folder("ann"), 1)
	stray := s.folder("stray")
	s.edit(stray, config.ServicesFile, "server-port: 9186", "server-port: 9188")
	_, err := s.push(stray, 0)
	s.refused(err, "was not pulled from the cluster")
	_, err = s.push(stray, 2) // not the newest: somebody may have pushed it meanwhile
	s.refused(err, "was not pulled from the cluster")
	if n, err := s.push(stray, 1); n != 2 || err != nil {
		t.Errorf("over the newest by name: %d, %v", n, err)
	}
}

// Revisions are numbered anew after a cluster was wiped; the folder stays good.
func TestFolderOutlivesItsCluster(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	dir := s.folder("ann")
	s.pushes(dir, 1)
	s.edit(dir, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(dir, 2)
	s.store = revision.NewStore(runtest.Dir(t.TempDir()))
	s.edit(dir, config.ServicesFile, "server-port: 9187", "server-port: 9188")
	s.pushes(dir, 1)
}

func TestPullBringsWholeFolders(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann := s.folder("ann")
	if _, _, err := Pull(t.Context(), s.store, ann, 0, false); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("pulled from a cluster without revisions: %v", err)
	}
	// One of schema 1 first, so that a pull back to it has a file to rename.
	older := filepath.Join(s.root, "older")
	c := config.New("lab", pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"},
		[]config.Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: config.RoleControlPlane}}, []string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
	c.Layout.SchemaVersion = 1
	if err := config.Write(older, c); err != nil {
		t.Fatal(err)
	}
	s.pushes(older, 1)
	if n, err := s.push(ann, 1); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	want := map[int][]string{
		1: {config.ClusterFile, config.KubernetesFile, config.ServicesFile},
		2: {config.KubernetesFile, config.LayoutFile, config.ServicesFile},
	}
	empty := filepath.Join(s.root, "new", "folder")
	for _, number := range []int{2, 1, 2} {
		r, _, err := Pull(t.Context(), s.store, empty, number, false)
		if err != nil || r.Number != number {
			t.Fatalf("%v, %v", r.Info, err)
		}
		files, err := config.Files(empty)
		if err != nil || !r.Same(files) || !slices.Equal(slices.Sorted(maps.Keys(files)), want[number]) {
			t.Errorf("revision %d came as %v, %v", number, slices.Sorted(maps.Keys(files)), err)
		}
		for name := range files {
			if info, err := os.Stat(filepath.Join(empty, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s, which has a password in it, is %v, %v", name, info.Mode(), err)
			}
		}
	}
}

func TestGoBackToARevision(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann, bob := s.folder("ann"), s.folder("bob")
	s.pushes(ann, 1)
	s.pushes(bob, 1)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(ann, 2)
	s.edit(bob, config.ServicesFile, "server-port: 9186", "server-port: 9188")

	n, former, err := rollbackTo(t.Context(), s.store, ann, "lab", 1, "it was wrong")
	if n != 3 || former == "" || err != nil {
		t.Fatal(n, former, err)
	}
	s.pushes(ann, 3) // the folder is the new revision
	first, _ := s.store.Get(t.Context(), 1)
	third, err := s.store.Get(t.Context(), 3)
	if err != nil || !third.Same(first.Files) || third.Why != "it was wrong" {
		t.Errorf("%v, %v", third.Info, err)
	}
	if n, _, err := rollbackTo(t.Context(), s.store, ann, "lab", 1, "again"); n != 3 || err != nil {
		t.Errorf("what is so already was made again: %d, %v", n, err)
	}
	// A folder with changes of its own keeps them.
	if n, former, err := rollbackTo(t.Context(), s.store, bob, "lab", 2, "after all"); n != 4 || former != "" || err != nil {
		t.Error(n, former, err)
	}
	if data, err := os.ReadFile(filepath.Join(bob, config.ServicesFile)); err != nil || !bytes.Contains(data, []byte("9188")) {
		t.Errorf("bob's change is gone: %v", err)
	}
}

// A folder that could not be brought back is not taken for the new revision:
// its next push would undo the way back.
func TestFolderThatDidNotGoBack(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann := s.folder(strings.Repeat("a", 250)) // too long a name for a copy of the previous files beside it
	s.pushes(ann, 1)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(ann, 2)
	if n, _, err := rollbackTo(t.Context(), s.store, ann, "lab", 1, "it was wrong"); n != 3 || err == nil {
		t.Fatalf("revision %d, error %v", n, err)
	}
	_, err := s.push(ann, 0)
	s.refused(err, "is of revision 2, and since then there is revision 3")
}

func TestWhatIsPushedAndNotApplied(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ctx, ann, bob := t.Context(), s.folder("ann"), s.folder("bob")
	both := []revision.Part{revision.Kubernetes, revision.Services}
	expect := func(dir string, pending []revision.Part, folder string) {
		t.Helper()
		state, err := stateOf(ctx, s.store, dir, "lab")
		if err != nil || !slices.Equal(state.Pending, pending) || state.Folder != folder {
			t.Errorf("%+v, %v; want %v pending and the folder %q", state, err, pending, folder)
		}
	}
	expect(ann, nil, Changed) // there is no revision yet
	s.pushes(ann, 1)
	s.pushes(bob, 1)
	expect(ann, both, Same)
	if err := s.store.MarkApplied(ctx, 1, both...); err != nil {
		t.Fatal(err)
	}
	expect(ann, nil, Same)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	expect(ann, nil, Changed)
	s.pushes(ann, 2)
	expect(ann, []revision.Part{revision.Services}, Same) // a service's port is nothing to the machines
	expect(bob, []revision.Part{revision.Services}, Outdated)
	if err := s.store.MarkApplied(ctx, 2, both...); err != nil {
		t.Fatal(err)
	}
	// What cannot matter to a part is not pending for it.
	s.edit(ann, config.ServicesFile, "release: v0.10", "release: v0.9")
	s.pushes(ann, 3)
	expect(ann, []revision.Part{revision.Services}, Same)
	if err := s.store.MarkApplied(ctx, 3, revision.Services); err != nil {
		t.Fatal(err)
	}
	s.edit(ann, config.ServicesFile, "# ", "#  ")
	s.edit(ann, config.KubernetesFile, "9000-9999", "9000-9998")
	s.pushes(ann, 4)
	expect(ann, both, Same)
}
