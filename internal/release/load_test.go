package release_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

func TestReleasesOfThisSourceTree(t *testing.T) {
	t.Parallel()
	manifests, err := release.Load(releases.FS)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(release.Rows(manifests))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"release":"v0.11","services":{"version":"v0.11","upgradableSince":"v0.10"},` +
		`"kubernetes":{"version":"v0.11-pai","upstream":"v1.37.2","compatibleSince":"v0.11-pai","upgradableSince":"v0.10-pai"}},` +
		`{"release":"v0.10","services":{"version":"v0.10","upgradableSince":"v0.9"},` +
		`"kubernetes":{"version":"v0.10-pai","upstream":"v1.36.3","compatibleSince":"v0.10-pai","upgradableSince":"v0.9-pai"}},` +
		`{"release":"v0.9","services":{"version":"v0.9","upgradableSince":"v0.9"},` +
		`"kubernetes":{"version":"v0.9-pai","upstream":"v1.35.4","compatibleSince":"v0.9-pai","upgradableSince":"v0.9-pai"}}]`
	if string(got) != want {
		t.Errorf("the support plan is\n%s, want\n%s", got, want)
	}
}

// good is a release with nothing wrong; a test changes one thing.
const good = `apiVersion: pai.dev/v1
kind: Release
metadata: {name: v0.9}
services: {version: v0.9, upgradableSince: v0.9}
kubernetes: {version: v0.9-pai, upstream: v1.35.4, compatibleSince: v0.9-pai, upgradableSince: v0.9-pai}
configuration: {schema: 2}
programs:
  - {name: kubernetes, version: v1.35.4, component: components/kubernetes/v1.35}
images:
  - {name: pause, version: v1, component: cmd/pause, user: "1:1"}
serviceList:
  - {name: kueue, version: v0.14.0, chart: {component: components/kueue/v0.14.0, path: charts/kueue}}
`

func load(files map[string]string) ([]release.Manifest, error) {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return release.Load(fsys)
}

func TestLoadSortsByNumber(t *testing.T) {
	t.Parallel()
	files := map[string]string{"README.md": "not a release"}
	for _, v := range []string{"v0.10", "v0.9", "v1.0", "v0.9.1"} {
		files[v+"/release.yaml"] = strings.ReplaceAll(good, "v0.9", v)
	}
	manifests, err := load(files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range manifests {
		names = append(names, string(m.Metadata.Name))
	}
	if got := strings.Join(names, " "); got != "v0.9 v0.9.1 v0.10 v1.0" {
		t.Errorf("the order is %s", got)
	}
}

// A release has one spelling. Another one would be a second directory, a second
// bundle, and second labels of the same release.
func TestLoadRefusesASecondSpelling(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{
		"v0.9/release.yaml":   good,
		"v0.9.0/release.yaml": strings.NewReplacer("{name: v0.9}", "{name: v0.9.0}", "{version: v0.9,", "{version: v0.9.0,").Replace(good),
	})
	for _, want := range []string{"v0.9.0/release.yaml: metadata.name is v0.9.0, which is spelled v0.9", "services.version is v0.9.0, which is spelled v0.9"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// The Kubernetes of a patch release has its own row: another upstream patch under
// the same name is a contradiction.
func TestLoadPatchReleases(t *testing.T) {
	t.Parallel()
	patch := strings.NewReplacer("{name: v0.9}", "{name: v0.9.1}", "{version: v0.9,", "{version: v0.9.1,", "version: v0.9-pai", "version: v0.9.1-pai", "v1.35.4", "v1.35.9").Replace(good)
	manifests, err := load(map[string]string{"v0.9/release.yaml": good, "v0.9.1/release.yaml": patch})
	if err != nil {
		t.Fatal(err)
	}
	rows := release.Rows(manifests)
	if rows[0].Release != "v0.9.1" || rows[0].Kubernetes.Version != "v0.9.1-pai" || rows[0].Kubernetes.Upstream != "v1.35.9" || rows[0].Services.UpgradableSince != "v0.9" {
		t.Errorf("got the newest row %+v, want v0.9.1 with v1.35.9", rows[0])
	}
	_, err = load(map[string]string{"v0.9/release.yaml": good, "v0.9.1/release.yaml": strings.ReplaceAll(patch, "v0.9.1-pai", "v0.9-pai")})
	if err == nil || !strings.Contains(err.Error(), "both have Kubernetes v0.9-pai, but upstream") {
		t.Errorf("got %v, want that the name of the Kubernetes is taken", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for old, test := range map[string]struct{ new, want string }{
		"apiVersion: pai.dev/v1":           {"apiVersion: v1", `apiVersion is "v1"`},
		"kind: Release":                    {"kind: Relase", `kind is "Relase"`},
		"{name: v0.9}":                     {"{name: v0.8}", `metadata.name is "v0.8", want "v0.9", the name of its directory`},
		"version: v0.9,":                   {"version: 0.9,", "services.version: version"},
		"{version: v0.9, ":                 {"{version: v0.9.1, ", "services.version is v0.9.1, want v0.9, the name of the release"},
		"version: v0.9-pai,":               {"version: v0.9.0-pai,", "kubernetes.version is v0.9.0-pai, which is spelled v0.9-pai"},
		"{version: v0.9, upgradableSince:": {"{version: v0.9, upgradeableSince: v0.9, upgradableSince:", "upgradeableSince not found"},
		"upgradableSince: v0.9}":           {"upgradableSince: v0.10}", "services.upgradableSince is newer"},
		"upstream: v1.35.4":                {"upstream: v1.35", "kubernetes.upstream is"},
		"compatibleSince: v0.9-pai":        {"compatibleSince: v0.10-pai", "kubernetes.compatibleSince is newer"},
		"upgradableSince: v0.9-pai":        {"upgradableSince: v1.0-pai", "kubernetes.upgradableSince is newer"},
		"schema: 2":                        {"schema: 0", "configuration.schema is missing"},
		"kubernetes, version: v1.35.4":     {"kubernetes, version: v1.35.3", "is v1.35.3, but kubernetes.upstream is v1.35.4"},
		"components/kubernetes/v1.35}":     {"../kubernetes}", "not a directory below the source tree"},
		"name: pause":                      {"name: Pause", "has a name that is not"},
		"version: v1,":                     {"version: v1/2,", "cannot be a tag"},
		`user: "1:1"`:                      {"user: root", "not of the form"},
		`"1:1"}`:                           {`"1:1", entrypoint: manager}`, "not the absolute path of a file"},
		"path: charts/kueue":               {"path: /charts", "chart.path"},
		"serviceList:":                     {"  - {name: pause, version: v2, component: cmd/pause, user: \"1:1\"}\nserviceList:", "is a duplicate"},
	} {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the good release", old)
		}
		_, err := load(map[string]string{"v0.9/release.yaml": strings.Replace(good, old, test.new, 1)})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "v0.9/release.yaml") {
			t.Errorf("%q instead of %q: error %v, want one with %q", test.new, old, err, test.want)
		}
	}
}

// row is what a source tree has of a frozen release.
const row = `apiVersion: pai.dev/v1
kind: Release
metadata: {name: v0.9}
services: {version: v0.9, upgradableSince: v0.9}
kubernetes: {version: v0.9-pai, upstream: v1.35.4, compatibleSince: v0.9-pai, upgradableSince: v0.9-pai}
configuration: {schema: 2}
`

func TestManifestHasPinsOrACommit(t *testing.T) {
	t.Parallel()
	const commit = "commit: c82e0235d1b1d4e4d4d3d0a2a1f7a3a2f1c0b9a8\n"
	const migrations = "migrations: [{name: users, description: the users, after: rest-server}]\n"
	for _, c := range []struct{ name, manifest, want string }{
		{"pins", good, ""},
		{"a commit", row + commit, ""},
		{"a commit and migrations", row + commit + migrations, ""},
		{"a commit and pins", good + commit, "a release has either pins or the commit that builds it"},
		{"neither", row, "a release has either pins or the commit that builds it"},
		{"a short commit", row + "commit: c82e023\n", `commit is "c82e023", not the full ID of a commit`},
		{"a branch", row + "commit: main\n", `commit is "main", not the full ID`},
		{"a migration after no service", row + commit + strings.Replace(migrations, "rest-server", "Rest", 1), `after is "Rest"`},
		{"migrations without a service", good + migrations, `after is "rest-server", which is not a service of the release`},
	} {
		manifests, err := load(map[string]string{"v0.9/release.yaml": c.manifest})
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "v0.9/release.yaml")) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
		if err == nil && manifests[0].Frozen() == manifests[0].HasPins() {
			t.Errorf("%s: got a manifest with frozen %t and pins %t", c.name, manifests[0].Frozen(), manifests[0].HasPins())
		}
	}
	rows, err := release.LoadRows(fstest.MapFS{"v0.9/release.yaml": {Data: []byte(row)}})
	if err != nil || len(rows) != 1 {
		t.Errorf("rows alone: %v, %v", rows, err)
	}
}

func TestPinsOfAFrozenReleaseComeFromItsBundle(t *testing.T) {
	t.Parallel()
	all, err := load(map[string]string{"v0.9/release.yaml": good,
		"v0.8/release.yaml": strings.NewReplacer("v0.9", "v0.8", "upgradableSince: v0.9-pai", "upgradableSince: v0.8-pai").Replace(row + "commit: c82e0235d1b1d4e4d4d3d0a2a1f7a3a2f1c0b9a8\n")})
	if err != nil {
		t.Fatal(err)
	}
	frozen, pinned := all[0], all[1]
	if got := pinned.WithPins(frozen); !got.HasPins() {
		t.Error("a manifest lost its pins")
	}
	if got := frozen.WithPins(pinned); got.HasPins() {
		t.Error("a frozen release got the pins of the bundle of another release")
	}
	bundle := frozen
	bundle.Commit, bundle.Programs, bundle.Images, bundle.ServiceList = "", pinned.Programs, pinned.Images, pinned.ServiceList
	bundle.Kubernetes.UpgradableSince = "v0.7-pai" // the row of this source tree is newer
	got := frozen.WithPins(bundle)
	if len(got.Programs) != 1 || len(got.Images) != 1 || len(got.ServiceList) != 1 || got.Kubernetes != frozen.Kubernetes || !got.Frozen() {
		t.Errorf("got %+v", got)
	}
}

func TestLoadReportsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{
		"v0.9/release.yaml":  strings.NewReplacer("schema: 2", "schema: 0", "user: \"1:1\"", "user: root").Replace(good),
		"v0.10/release.yaml": "kind: [",
		"v0.11/release.yaml": strings.NewReplacer("v0.9", "v0.11", "v1.35.4", "v1.36.0").Replace(good),
		"v1.0/release.yaml":  strings.NewReplacer("name: v0.9}", "name: v1.0}", "{version: v0.9,", "{version: v1.0,", "v0.9-pai", "v0.11-pai").Replace(good),
	})
	for _, want := range []string{
		"v0.9/release.yaml: configuration.schema", "user is \"root\"", "v0.10/release.yaml: yaml",
		"releases v0.11 and v1.0: both have Kubernetes v0.11-pai, but upstream v1.36.0 and v1.35.4",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if _, err := load(nil); err == nil {
		t.Error("an empty tree gives no error")
	}
}
