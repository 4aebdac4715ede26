// Package older reads what commit c82e023 (v0.9 and v0.10) left on machines, in
// the API, and on the side of the operator. testdata holds files that its
// paictl wrote: of a cluster that it booted, of one whose upgrade was killed
// within a step, and of one that it upgraded. Their keys, tokens, and
// certificates are left out or replaced.
package older

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// states are the clusters of testdata.
func states() []string { return []string{"booted", "killed", "upgraded"} }

func machine(state string) runtest.Dir {
	return runtest.Dir(filepath.Join("testdata", state, "machine"))
}

// strict reads JSON and fails for a field that the type does not have.
func strict(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

// matching returns the files of a pattern, at least one.
func matching(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %v of %s, error %v", files, pattern, err)
	}
	return files
}

func TestJournalIsRead(t *testing.T) {
	want := map[string][]string{
		"booted":   {"k8s-bootup succeeded", "service-start succeeded"},
		"killed":   {"k8s-bootup succeeded", "service-start succeeded", "upgrade running"},
		"upgraded": {"k8s-bootup succeeded", "service-start succeeded", "upgrade succeeded"},
	}
	for _, state := range states() {
		operations, err := run.NewJournal(machine(state)).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, op := range operations {
			got = append(got, string(op.Verb)+" "+string(op.Outcome))
			if op.Started.IsZero() || op.By == "" || len(op.Steps) == 0 {
				t.Errorf("%s: operation %s has lost something: %+v", state, op.ID, op)
			}
		}
		if !slices.Equal(got, want[state]) {
			t.Errorf("%s: got operations %q, want %q", state, got, want[state])
		}
		for _, file := range matching(t, machine(state).At(run.Dir+"/operations/*.json")) {
			strict(t, file, &pai.Operation{})
		}
	}
}

func TestReportOfUpgradeIsRead(t *testing.T) {
	operations, err := run.NewJournal(machine("upgraded")).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	op := operations[len(operations)-1]
	want := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	if op.To != want || op.Jobs.Before != 1 || op.Jobs.After != 1 || len(op.Jobs.Interrupted) != 0 || op.Revision == 0 {
		t.Errorf("got %+v", op)
	}
}

func TestLockOfKilledProcessIsRead(t *testing.T) {
	_, holder, err := run.Current(t.Context(), machine("killed"))
	if err != nil {
		t.Fatal(err)
	}
	if holder == nil || holder.Verb != pai.VerbUpgrade {
		t.Errorf("got holder %+v, want the killed upgrade", holder)
	}
	_, holder, err = run.Current(t.Context(), machine("upgraded"))
	if err != nil || holder != nil {
		t.Errorf("got holder %+v, error %v, want a released lock", holder, err)
	}
}

func TestRevisionsAreRead(t *testing.T) {
	for _, state := range states() {
		store := revision.NewStore(machine(state))
		revisions, err := store.List(t.Context())
		if err != nil || len(revisions) == 0 {
			t.Fatalf("%s: got revisions %v, error %v", state, revisions, err)
		}
		for _, r := range revisions {
			if r.Number == 0 || r.By == "" || len(r.Files) < 3 {
				t.Errorf("%s: revision %d has lost something: by %q, files %d", state, r.Number, r.By, len(r.Files))
			}
			dir := t.TempDir()
			for name, data := range r.Files {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := config.Load(dir); err != nil {
				t.Errorf("%s: revision %d: %v", state, r.Number, err)
			}
		}
	}
}

func TestBaselinesAreRead(t *testing.T) {
	for _, state := range []string{"killed", "upgraded"} {
		for _, file := range matching(t, machine(state).At(run.Dir+"/witness/*.json")) {
			var b witness.Baseline
			strict(t, file, &b)
			if b.Taken.IsZero() {
				t.Errorf("%s has lost when it was taken", file)
			}
			for _, j := range b.Jobs {
				if j.Name == "" || len(j.Containers) == 0 || j.Containers[0].ID == "" || j.Containers[0].Result == "" {
					t.Errorf("%s has lost a job: %+v", file, j)
				}
			}
		}
	}
}

func TestSavedPlanIsRead(t *testing.T) {
	data, err := os.ReadFile("testdata/plan.json")
	if err != nil {
		t.Fatal(err)
	}
	saved, err := plan.ParseSaved(data)
	if err != nil {
		t.Fatal(err)
	}
	if saved.Target.Release != "v0.10" || len(saved.Plan.Steps) < 10 || len(saved.Plan.Hops) != 2 {
		t.Errorf("got a plan to %s with %d hops and %d steps", saved.Target.Release, len(saved.Plan.Hops), len(saved.Plan.Steps))
	}
}

func TestConfigurationsOfOperatorsAreLoaded(t *testing.T) {
	for _, state := range states() {
		c, err := config.Load(filepath.Join("testdata", state, "state/clusters/local/config"))
		if err != nil {
			t.Errorf("%s: %v", state, err)
			continue
		}
		if m := c.Layout.MachineList; len(m) != 1 || m[0].Hostname != "pai-1" {
			t.Errorf("%s: got machines %+v", state, m)
		}
	}
}

// TestMachineHasTheNamesOfLayout holds the units, links, and directories that
// commit c82e023 wrote against the names that are used now.
func TestMachineHasTheNamesOfLayout(t *testing.T) {
	for _, state := range states() {
		root := string(machine(state))
		roles, err := os.ReadDir(filepath.Join(root, layout.RolesDir))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roles {
			unit := layout.Unit(layout.Role(r.Name()))
			if _, err := os.Stat(filepath.Join(root, layout.UnitsDir, unit)); err != nil {
				t.Errorf("%s: role %s has no unit %s: %v", state, r.Name(), unit, err)
			}
		}
		if len(roles) < 8 {
			t.Errorf("%s: got %d roles", state, len(roles))
		}
	}
}

// TestObjectsAreWrittenByTheSameFieldManager holds the API objects that commit
// c82e023 wrote against the name under which PAI writes now: another one would
// leave their fields without an owner.
func TestObjectsAreWrittenByTheSameFieldManager(t *testing.T) {
	for _, state := range states() {
		ours := 0
		for _, file := range matching(t, path.Join("testdata", state, "api/*.json")) {
			var list struct {
				Items []struct {
					Metadata struct {
						Name          string
						Labels        map[string]string
						ManagedFields []struct{ Manager string }
					}
				}
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &list); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, o := range list.Items {
				if o.Metadata.Labels["app.kubernetes.io/managed-by"] != "pai" {
					continue
				}
				ours++
				if !slices.ContainsFunc(o.Metadata.ManagedFields, func(f struct{ Manager string }) bool { return f.Manager == pai.FieldManager }) {
					t.Errorf("%s: %s has no fields of manager %q: %+v", file, o.Metadata.Name, pai.FieldManager, o.Metadata.ManagedFields)
				}
			}
		}
		if ours == 0 {
			t.Errorf("%s: no object of PAI", state)
		}
	}
}

// TestNoSecretsInTestdata holds the files against what keys and tokens look
// like. The token of a lock identifies its holder and is no secret.
func TestNoSecretsInTestdata(t *testing.T) {
	secret := regexp.MustCompile(`PRIVATE KEY|client-key-data: [A-Za-z0-9]|Bearer |\beyJ[A-Za-z0-9_-]{20}|secret: [A-Za-z0-9]|"(token|password)": "[^"]*[0-9]`)
	err := filepath.WalkDir("testdata", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if found := secret.Find(data); found != nil {
			t.Errorf("%s contains %q", name, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
