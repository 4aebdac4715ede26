package older

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// TestEveryFieldIsKept reads forms in which the packages of commit c82e023 set every
// field, and writes them again: nothing that it stored is dropped.
func TestEveryFieldIsKept(t *testing.T) {
	for name, into := range map[string]any{
		"operation": &pai.Operation{}, "holder": &run.Holder{}, "baseline": &witness.Baseline{}, "revision": &revision.Revision{},
		"base": &revision.Base{}, "plan": &plan.Saved{}, "access": &rest.Access{},
	} {
		data, err := os.ReadFile(filepath.Join("testdata/made", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := json.Marshal(into)
		if err != nil {
			t.Fatal(err)
		}
		var before, after any
		if err := errors.Join(json.Unmarshal(data, &before), json.Unmarshal(again, &after)); err != nil {
			t.Fatal(err)
		}
		for _, lost := range missing("", before, after) {
			t.Errorf("%s: lost or changed %s", name, lost)
		}
	}
}

// missing lists the values of before that after does not have.
func missing(path string, before, after any) (lost []string) {
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		for key, value := range b {
			lost = append(lost, missing(path+"/"+key, value, a[key])...)
		}
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			return []string{fmt.Sprintf("%s: %v, now %v", path, before, after)}
		}
		for i := range b {
			lost = append(lost, missing(fmt.Sprintf("%s/%d", path, i), b[i], a[i])...)
		}
	default:
		if !reflect.DeepEqual(before, after) {
			lost = []string{fmt.Sprintf("%s: %v, now %v", path, before, after)}
		}
	}
	return lost
}

// TestAppliedRevisionsAreRead: an older program wrote no versions beside them. What
// the cluster recorded says which ones they are.
func TestAppliedRevisionsAreRead(t *testing.T) {
	want := map[string]int{"booted": 1, "killed": 1, "upgraded": 2}
	for _, state := range states() {
		files := writable(t, state)
		store := revision.NewStore(files)
		a, err := store.Applied(t.Context())
		if err != nil || a[revision.Kubernetes] != want[state] || a[revision.Services] != want[state] {
			t.Errorf("%s: got applied %v, %v, want %d", state, a, err, want[state])
		}
		_, pair, err := cluster.Recorded(t.Context(), &sessiontest.Host{Files: files})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.NoteVersions(t.Context(), pair); err != nil {
			t.Fatal(err)
		}
		if n, err := store.AppliedWith(t.Context(), revision.Services, pai.AnyVersion(pair.Services), time.Time{}); n != want[state] || err != nil {
			t.Errorf("%s: got revision %d, %v, applied with services %s, want %d", state, n, err, pair.Services, want[state])
		}
	}
}

func TestRecordOfClusterIsRead(t *testing.T) {
	for state, want := range map[string]pai.Pair{
		"booted": {Services: "v0.9", Kubernetes: "v0.9-pai"}, "killed": {Services: "v0.9", Kubernetes: "v0.9-pai"}, "upgraded": {Services: "v0.10", Kubernetes: "v0.10-pai"},
	} {
		id, pair, err := cluster.Recorded(t.Context(), &sessiontest.Host{Files: machine(state)})
		if err != nil || id != "local" || pair != want {
			t.Errorf("%s: got cluster %q, %s, %v, want %s", state, id, pair, err, want)
		}
	}
}

// TestMachineIsInspected lets the helper of today read the links, roles, and records
// of images that an older program left.
func TestMachineIsInspected(t *testing.T) {
	for state, want := range map[string]map[string]string{
		"booted": {"kubelet": "v0.9-pai", "etcd-a": "v0.9-pai"}, "killed": {"etcd-b": "v0.10-pai", "kube-proxy": "v0.9-pai"}, "upgraded": {"kubelet": "v0.10-pai", "etcd-b": "v0.10-pai"},
	} {
		root := inspecttest.NewRoot(t)
		if err := os.CopyFS(string(root.Dir), os.DirFS(string(machine(state)))); err != nil {
			t.Fatal(err)
		}
		for role := range want {
			root.Units[layout.Unit(layout.Role(role))] = inspecttest.Unit{State: "inactive"}
		}
		r := root.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.Roles, inspect.Images}}, "")
		for role, version := range want {
			if got := r.Roles[layout.Role(role)].Link; got != version {
				t.Errorf("%s: role %s is linked to %q, want %s", state, role, got, version)
			}
		}
		if r.Images == nil || len(r.Images.Records) == 0 {
			t.Fatalf("%s: got images %+v, problems %v", state, r.Images, r.Problems)
		}
		for digest, images := range r.Images.Records {
			if !strings.HasPrefix(digest, "sha256-") || images["pai.local/pause:v1"] == "" {
				t.Errorf("%s: got %s with images %v", state, digest, images)
			}
		}
	}
}

// writable is a copy of the state on a machine.
func writable(t *testing.T, state string) runtest.Dir {
	t.Helper()
	files := runtest.Dir(t.TempDir())
	if err := os.CopyFS(files.At(run.Dir), os.DirFS(machine(state).At(run.Dir))); err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDirectoryOfOperatorIsRead(t *testing.T) {
	for state, want := range map[string]int{"booted": 1, "killed": 2, "upgraded": 2} {
		dir := filepath.Join("testdata", state, "state/clusters/local")
		if b, err := revision.ReadBase(filepath.Join(dir, "config")); err != nil || b != (revision.Base{ClusterID: "local", Revision: want}) {
			t.Errorf("%s: got base %+v, %v", state, b, err)
		}
		a, err := rest.LoadAccess(filepath.Join(dir, rest.AccessFile))
		if err != nil || len(a.URLs) != 1 || len(a.CA) == 0 || a.User != "admin" || a.Token == "" {
			t.Errorf("%s: got access for %q at %v, %v", state, a.User, a.URLs, err)
		}
	}
}

// TestJobsAreRead reads the job that an older program submitted.
func TestJobsAreRead(t *testing.T) {
	for _, state := range states() {
		var list struct{ Items []unstructured.Unstructured }
		readList(t, state, "jobsets", &list)
		if len(list.Items) != 1 {
			t.Fatalf("%s: got %d jobs", state, len(list.Items))
		}
		s, err := job.ReadStatus(&list.Items[0], nil)
		if err != nil || s.Name != "train" || s.User == "" || s.VirtualCluster != "default" || s.Created.IsZero() || s.Tasks() != 2 || s.State == job.StateUnknown {
			t.Errorf("%s: got %+v, %v", state, s, err)
		}
	}
}

// TestCordonIsRead: the killed upgrade had cordoned its machine, or not yet.
func TestCordonIsRead(t *testing.T) {
	for _, state := range states() {
		var list struct{ Items []corev1.Node }
		readList(t, state, "nodes", &list)
		operations, err := run.NewJournal(machine(state)).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list.Items {
			by := cluster.CordonedByPAI(&n)
			known := slices.ContainsFunc(operations, func(op pai.Operation) bool { return op.ID == by && op.CordonedBy(n.Name) })
			if by != "" && !known {
				t.Errorf("%s: node %s is cordoned by operation %q, which the journal does not say", state, n.Name, by)
			}
		}
	}
}

func readList(t *testing.T, state, kind string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", state, "api", kind+".json"))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
