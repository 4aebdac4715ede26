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
	"pai.dev/pai/test/runtest"
)

// shared is the revisions of a cluster, and the directories of two operators.
type shared struct {
	t     *testing.T
	store *revision.Store
	root  string
}

func newShared(t *testing.T) shared {
	t.Helper()
	return shared{t, revision.NewStore(runtest.Dir(t.TempDir())), t.TempDir()}
}

// directory makes a directory with a configuration of the newest schema.
func (s shared) directory(name string) string {
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

// edit replaces a text in one file of a directory.
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

// pushes is push without a conflict.
func (s shared) pushes(dir string, want int) {
	s.t.Helper()
	if n, err := s.push(dir, 0); n != want || err != nil {
		s.t.Fatalf("pushed as %d, want %d: %v", n, want, err)
	}
}

func (s shared) refused(err error, says string) {
	s.t.Helper()
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), says) {
		s.t.Errorf("got %v, want a refusal with %q", err, says)
	}
}

func TestPushNeverUndoesAnotherPush(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann, bob := s.directory("ann"), s.directory("bob")
	s.pushes(ann, 1)
	s.pushes(ann, 1) // an unchanged directory is the same revision

	// The files of bob are equal, so they are revision 1 too; then both change them.
	s.pushes(bob, 1)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(ann, 2)
	s.edit(bob, config.ServicesFile, "server-port: 9186", "server-port: 9188")
	_, err := s.push(bob, 0)
	s.refused(err, "is based on revision 1, and the cluster has revision 2")
	if _, _, err := Pull(t.Context(), s.store, bob, 0, false); err != nil {
		s.refused(err, "has changes that were never pushed")
	} else {
		t.Error("a pull replaced changes that were never pushed")
	}

	r, previous, err := Pull(t.Context(), s.store, bob, 0, true)
	if err != nil || r.Number != 2 {
		t.Fatalf("%v, %v", r.Info, err)
	}
	kept, err := os.ReadFile(filepath.Join(previous, config.ServicesFile))
	if err != nil || !bytes.Contains(kept, []byte("server-port: 9188")) {
		t.Errorf("the change of bob is not in %q: %v", previous, err)
	}
	s.edit(bob, config.ServicesFile, "server-port: 9187", "server-port: 9189")
	s.pushes(bob, 3)
}

func TestPushRefusesUnknownDirectory(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.pushes(s.directory("ann"), 1)
	stray := s.directory("stray")
	s.edit(stray, config.ServicesFile, "server-port: 9186", "server-port: 9188")
	_, err := s.push(stray, 0)
	s.refused(err, "was not pulled from the cluster")
	_, err = s.push(stray, 2) // not the newest, so another operator pushed first
	s.refused(err, "was not pulled from the cluster")
	if n, err := s.push(stray, 1); n != 2 || err != nil {
		t.Errorf("over the newest by name: %d, %v", n, err)
	}
}

// Revisions start at 1 again after a cluster was wiped; the directory stays usable.
func TestPushToWipedCluster(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	dir := s.directory("ann")
	s.pushes(dir, 1)
	s.edit(dir, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(dir, 2)
	s.store = revision.NewStore(runtest.Dir(t.TempDir()))
	s.edit(dir, config.ServicesFile, "server-port: 9187", "server-port: 9188")
	s.pushes(dir, 1)
}

func TestPullReplacesAllFiles(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann := s.directory("ann")
	if _, _, err := Pull(t.Context(), s.store, ann, 0, false); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("cluster without revisions: got %v, want not found", err)
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
	empty := filepath.Join(s.root, "new", "directory")
	for _, number := range []int{2, 1, 2} {
		r, _, err := Pull(t.Context(), s.store, empty, number, false)
		if err != nil || r.Number != number {
			t.Fatalf("%v, %v", r.Info, err)
		}
		files, err := config.Files(empty)
		if err != nil || !r.Same(files) || !slices.Equal(slices.Sorted(maps.Keys(files)), want[number]) {
			t.Errorf("revision %d: got files %v, %v", number, slices.Sorted(maps.Keys(files)), err)
		}
		for name := range files {
			if info, err := os.Stat(filepath.Join(empty, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s contains a password: got mode %v, %v, want 0600", name, info.Mode(), err)
			}
		}
	}
}

func TestRollbackToRevision(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann, bob := s.directory("ann"), s.directory("bob")
	s.pushes(ann, 1)
	s.pushes(bob, 1)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(ann, 2)
	s.edit(bob, config.ServicesFile, "server-port: 9186", "server-port: 9188")

	n, previous, err := rollbackTo(t.Context(), s.store, ann, "lab", 1, "it was wrong")
	if n != 3 || previous == "" || err != nil {
		t.Fatal(n, previous, err)
	}
	s.pushes(ann, 3) // the directory is the new revision
	first, _ := s.store.Get(t.Context(), 1)
	third, err := s.store.Get(t.Context(), 3)
	if err != nil || !third.Same(first.Files) || third.Why != "it was wrong" {
		t.Errorf("%v, %v", third.Info, err)
	}
	if n, _, err := rollbackTo(t.Context(), s.store, ann, "lab", 1, "again"); n != 3 || err != nil {
		t.Errorf("rollback to an equal revision: got %d, %v, want 3", n, err)
	}
	// A directory with other changes keeps them.
	if n, previous, err := rollbackTo(t.Context(), s.store, bob, "lab", 2, "after all"); n != 4 || previous != "" || err != nil {
		t.Error(n, previous, err)
	}
	if data, err := os.ReadFile(filepath.Join(bob, config.ServicesFile)); err != nil || !bytes.Contains(data, []byte("9188")) {
		t.Errorf("the change of bob was deleted: %v", err)
	}
}

// A directory that could not be replaced is not treated as the new revision: its
// next push would undo the rollback.
func TestRollbackOfDirectoryFails(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ann := s.directory(strings.Repeat("a", 250)) // too long a name for a copy of the previous files beside it
	s.pushes(ann, 1)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	s.pushes(ann, 2)
	if n, _, err := rollbackTo(t.Context(), s.store, ann, "lab", 1, "it was wrong"); n != 3 || err == nil {
		t.Fatalf("revision %d, error %v", n, err)
	}
	_, err := s.push(ann, 0)
	s.refused(err, "is based on revision 2, and the cluster has revision 3")
}

func TestReadStateFindsPendingParts(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	ctx, ann, bob := t.Context(), s.directory("ann"), s.directory("bob")
	both := []revision.Part{revision.Kubernetes, revision.Services}
	expect := func(dir string, pending []revision.Part, directory string) {
		t.Helper()
		state, err := stateOf(ctx, s.store, dir, "lab")
		if err != nil || !slices.Equal(state.Pending, pending) || state.Directory != directory {
			t.Errorf("got %+v, %v; want %v pending and the directory %q", state, err, pending, directory)
		}
	}
	expect(ann, nil, Changed) // there is no revision yet
	s.pushes(ann, 1)
	s.pushes(bob, 1)
	expect(ann, both, Same)
	if err := s.store.MarkApplied(ctx, 1, pai.Pair{}, both...); err != nil {
		t.Fatal(err)
	}
	expect(ann, nil, Same)
	s.edit(ann, config.ServicesFile, "server-port: 9186", "server-port: 9187")
	expect(ann, nil, Changed)
	s.pushes(ann, 2)
	expect(ann, []revision.Part{revision.Services}, Same) // the port of a service does not affect machines
	expect(bob, []revision.Part{revision.Services}, Outdated)
	if err := s.store.MarkApplied(ctx, 2, pai.Pair{}, both...); err != nil {
		t.Fatal(err)
	}
	// What cannot matter to a part is not pending for it.
	s.edit(ann, config.ServicesFile, "release: v0.10", "release: v0.9")
	s.pushes(ann, 3)
	expect(ann, []revision.Part{revision.Services}, Same)
	if err := s.store.MarkApplied(ctx, 3, pai.Pair{}, revision.Services); err != nil {
		t.Fatal(err)
	}
	s.edit(ann, config.ServicesFile, "# ", "#  ")
	s.edit(ann, config.KubernetesFile, "9000-9999", "9000-9998")
	s.pushes(ann, 4)
	expect(ann, both, Same)
}
