package cluster

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/inspecttest"
)

// TestReasonsToKeep compares the decision with the rules as a reader would write
// them, for any machine and any needs.
func TestReasonsToKeep(t *testing.T) {
	t.Parallel()
	versions := []pai.KubernetesVersion{"v0.9-pai", "v0.10-pai", "v0.11-pai", "v0.12-pai"}
	some := func(rt *rapid.T, name string) []string {
		return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 1).Draw(rt, name)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var all []inspect.Directory
		for _, v := range versions {
			for _, build := range []string{"", "+0123456789ab", ".new"} {
				if rapid.Bool().Draw(rt, "exists") {
					all = append(all, inspect.Directory{Name: string(v) + build, Incomplete: build == ".new",
						Foreign: some(rt, "foreign"), Roles: some(rt, "roles"), Users: some(rt, "users")})
				}
			}
		}
		version := rapid.IntRange(0, len(versions)-1)
		current := version.Draw(rt, "current")
		from := version.Draw(rt, "from")
		to := rapid.IntRange(from, len(versions)-1).Draw(rt, "to")
		needs := []Need{{From: versions[current], To: versions[current], Reason: "current", AnyBuild: true},
			{From: versions[from], To: versions[to], Reason: "range", Except: versions[current]}}
		for _, d := range all {
			label, _, _ := strings.Cut(strings.TrimSuffix(d.Name, ".new"), "+")
			at := slices.Index(versions, pai.KubernetesVersion(label))
			keep := len(d.Foreign) > 0 || len(d.Roles) > 0 || len(d.Users) > 0
			if !strings.HasSuffix(d.Name, ".new") {
				if at != current && at >= from && at <= to {
					keep = true
				}
				linked := false // a build of the current version
				for _, o := range all {
					if o.Name == label || o.Name == label+"+0123456789ab" {
						linked = linked || len(o.Roles) > 0
					}
				}
				if at == current && !linked {
					keep = true
				}
			}
			if got := reasonsToKeep(d, all, needs); (len(got) > 0) != keep {
				rt.Fatalf("%+v: got the reasons %v, want kept %v; current %d, range %d to %d, all %+v", d, got, keep, current, from, to, all)
			}
		}
	})
}

func TestReasonsNameWhatKeepsADirectory(t *testing.T) {
	t.Parallel()
	d := inspect.Directory{Name: "v0.10-pai", Foreign: []string{"/opt/pai/v0.10-pai/mine"}, Roles: []string{"containerd"},
		Users: []string{"container a of pod x/y", "process 1 (kubelet)"}}
	got := reasonsToKeep(d, []inspect.Directory{d}, []Need{{From: "v0.9-pai", To: "v0.10-pai", Reason: "a rollback needs it"}})
	want := []string{"PAI did not write /opt/pai/v0.10-pai/mine", "a rollback needs it", "role containerd is linked to it",
		"container a of pod x/y uses it", "process 1 (kubelet) uses it"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPruneMachine(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "gpu-01")
	h.Process(7, layout.Program("v0.10-pai", "containerd-shim-runc-v2"), nil, nil)
	for _, v := range []string{"v0.8-pai", "v0.9-pai", "v0.10-pai", "v0.11-pai"} {
		h.Write(layout.Program(v, "kubelet"), strings.Repeat("x", 5000))
		h.Write(layout.VersionDir(v)+"/release.json", `{"kubernetes":"`+v+`"}`)
	}
	h.Link(layout.RoleLink(layout.RoleKubelet), "../v0.11-pai")
	h.Write(layout.Program("v0.8-pai", "mine"), "")
	needs := []Need{{From: "v0.11-pai", To: "v0.11-pai", Reason: "the cluster runs this version", AnyBuild: true}}
	paths := func(list []PrunedDirectory) (paths []string) {
		for _, d := range list {
			paths = append(paths, d.Path)
		}
		slices.Sort(paths)
		return paths
	}
	for _, dryRun := range []bool{true, false} {
		got, err := Prune(t.Context(), h, needs, dryRun)
		if err != nil || !slices.Equal(paths(got.Removed), []string{"/opt/pai/v0.9-pai"}) || got.Removed[0].Bytes < 5000 ||
			!slices.Equal(paths(got.Kept), []string{"/opt/pai/v0.10-pai", "/opt/pai/v0.11-pai", "/opt/pai/v0.8-pai"}) {
			t.Fatalf("dry run %v: got %+v, %v", dryRun, got, err)
		}
		if _, err := os.Stat(h.At("/opt/pai/v0.9-pai")); os.IsNotExist(err) == dryRun {
			t.Errorf("dry run %v: got %v", dryRun, err)
		}
	}
	got, err := Prune(t.Context(), h, needs, false)
	if err != nil || len(got.Removed) > 0 || len(got.Kept) != 3 {
		t.Errorf("second time: got %+v, %v, want nothing to do", got, err)
	}
	if err := os.RemoveAll(h.At("/proc")); err != nil {
		t.Fatal(err)
	}
	if got, err := Prune(t.Context(), h, nil, false); err == nil || len(got.Removed)+len(got.Kept) > 0 {
		t.Errorf("without processes: got %+v, %v, want an error", got, err)
	}
}
