package plan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

func TestFieldsListsDifferences(t *testing.T) {
	for _, c := range []struct{ name, before, after, want string }{
		{"nothing", `{"a":{"b":[1,{"c":2}]}}`, `{"a":{"b":[1,{"c":2}]}}`, ""},
		{"a value", `{"spec":{"replicas":1}}`, `{"spec":{"replicas":2}}`, "spec.replicas: 1 → 2"},
		{"added, removed", `{"a":1}`, `{"b":"x"}`, "a: 1 → ; b:  → x"},
		{"a name with dots", `{"metadata":{"annotations":{"pai.dev/release":"v0.9"}}}`, `{"metadata":{"annotations":{"pai.dev/release":"v0.10"}}}`,
			"metadata.annotations[pai.dev/release]: v0.9 → v0.10"},
		{"containers by name, whatever their order", `{"c":[{"name":"a","image":"x:1"},{"name":"b","image":"y:1"}]}`,
			`{"c":[{"name":"b","image":"y:1"},{"name":"a","image":"x:2"}]}`, "c[a].image: x:1 → x:2"},
		{"a container that comes is listed by its fields", `{"c":[{"name":"a"}]}`, `{"c":[{"name":"a"},{"name":"b","image":"y"}]}`,
			"c[b].image:  → y; c[b].name:  → b"},
		{"flags by what they say", `{"args":["--a","--b=1"]}`, `{"args":["--b=2","--a"]}`, "args[]: --b=1 → ; args[]:  → --b=2"},
		{"other lists by place", `{"l":[{"x":1},{"x":2}]}`, `{"l":[{"x":1},{"x":3}]}`, "l[1].x: 2 → 3"},
		{"another type", `{"a":{"b":1}}`, `{"a":[1]}`, `a: {"b":1} → [1]`},
		{"an empty object is something", `{"v":{"name":1}}`, `{"v":{"name":1,"emptyDir":{}}}`, "v.emptyDir:  → {}"},
		{"texts by line", `{"f":"a: 1\nb: 2\n"}`, `{"f":"a: 1\nb: 3\nc: 4\n"}`, "f: b: 2 → ; f:  → b: 3; f:  → c: 4"},
		{"texts that differ in space alone", `{"f":"a\nb"}`, `{"f":"a\n b"}`, "f: a\nb → a\n b"},
		{"an empty text is something", `{"v":"x"}`, `{"v":""}`, `v: x → ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range Fields(value0(t, c.before), value0(t, c.after)) {
				got = append(got, f.Path+": "+f.Old+" → "+f.New)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("got %q, want %q", strings.Join(got, "; "), c.want)
			}
		})
	}
}

func value0(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Values of JSON's types; lists are without names, so that order counts.
func anyValue() *rapid.Generator[any] {
	leaf := rapid.OneOf(rapid.Just(any("x")), rapid.Just(any("")), rapid.Just(any(true)), rapid.Just(any(float64(1))))
	return rapid.Custom(func(t *rapid.T) any {
		v := leaf.Draw(t, "leaf")
		for range rapid.IntRange(0, 4).Draw(t, "depth") {
			if rapid.Bool().Draw(t, "list") {
				v = []any{v, map[string]any{"k": leaf.Draw(t, "other")}}
			} else {
				v = map[string]any{rapid.SampledFrom([]string{"a", "b.c"}).Draw(t, "key"): v, "z": leaf.Draw(t, "other")}
			}
		}
		return v
	})
}

// There is a difference exactly where the two are not the same.
func TestFieldsOfAnyValuesFindsEveryDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := anyValue().Draw(t, "before"), anyValue().Draw(t, "after")
		if same, said := reflect.DeepEqual(before, after), len(Fields(before, after)) == 0; same != said {
			t.Fatalf("%v and %v are the same: %v, and it says %v", before, after, same, said)
		}
	})
}

func TestLinesListsDifferences(t *testing.T) {
	before := "#!/bin/sh\n# v0.9\nexec /bin/etcd \\\n  --a=1 \\\n  --b=2\n"
	after := "#!/bin/sh\n# v0.10\nexec /bin/etcd \\\n  --b=2 \\\n  --c=3\n"
	want := []FieldChange{{Old: "--a=1"}, {New: "--c=3"}}
	if got := Lines(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestProgramChangesListsPinsThatDiffer(t *testing.T) {
	pins := PinsOf(twoReleases())
	for _, c := range []struct {
		step Step
		want string
	}{
		{Step{Kind: KindEtcd, From: "v0.9-pai", To: "v0.10-pai"}, "program etcd v3.6.8 v3.6.16"},
		{Step{Kind: KindKubelet, From: "v0.9-pai", To: "v0.10-pai"}, "program kubernetes v1.35.4 v1.36.3"},
		{Step{Kind: KindRole, Role: RoleRuntime, From: "v0.9-pai", To: "v0.10-pai"}, ""},
		{Step{Kind: KindService, From: "v0.9", To: "v0.10"}, ""},
	} {
		got := ""
		for _, p := range ProgramChanges(c.step, pins) {
			got += p.What + " " + p.Fields[0].Old + " " + p.Fields[0].New
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.step.Kind, got, c.want)
		}
	}
}

func TestDiffGolden(t *testing.T) {
	in := running(twoReleases(), "v0.9", "cp-01")
	p, err := Upgrade(in, Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	changes := map[StepID][]StepDiff{}
	pins := PinsOf(in.Releases)
	for _, s := range p.Steps {
		if list := ProgramChanges(s, pins); list != nil {
			changes[s.ID] = list
		}
	}
	stamped := func(what string) StepDiff {
		return StepDiff{What: what, Action: Changed, Fields: []FieldChange{{Path: "metadata.annotations[pai.dev/release]", Old: "v0.9", New: "v0.10"}}}
	}
	var many []FieldChange
	for range shownFields + 2 {
		many = append(many, FieldChange{Path: "spec.x", New: "1"})
	}
	changes["services/v0.10/kueue"] = []StepDiff{
		{What: "Deployment pai-system/kueue", Action: Changed, Note: "its pods are replaced", Fields: []FieldChange{
			{Path: "spec.template.spec.containers[manager].image", Old: "kueue:v0.14.0", New: "kueue:v0.15.0"},
			{Path: "spec.template.spec.containers[manager].args[]", Old: "--old"},
			{Path: "spec.template.spec.containers[manager].args[]", New: "--new=" + strings.Repeat("x", 200)},
		}},
		{What: "CustomResourceDefinition workloads", Action: Changed, Fields: many},
		{What: "CustomResourceDefinition cohorts", Action: Changed, Fields: []FieldChange{
			{Path: "metadata.labels[helm.sh/chart]", Old: "1", New: "2"},
			{Path: "spec.versions[v1].schema.openAPIV3Schema.description", Old: "a", New: "b"},
			{Path: "spec.versions[v1].schema.openAPIV3Schema.type", Old: "a", New: "b"},
			{Path: "spec.versions[v2].name", New: "v2"}, {Path: "spec.versions[v2].schema.openAPIV3Schema.type", New: "b"},
		}},
		stamped("Service pai-system/kueue"), stamped("ServiceAccount pai-system/kueue"),
		{What: "ConfigMap pai-system/new", Action: Created},
		{What: "ConfigMap pai-system/old", Action: Deleted},
		{What: "CustomResourceDefinition old", Action: Kept, Note: "its deletion would also delete data"},
	}
	golden.Check(t, "testdata/diff.txt", DiffText(p, changes))
	if got := DiffText(Plan{Verb: pai.VerbUpgrade, From: pai.Pair{}}, nil); got != "\nNo object, program or file changes.\n" {
		t.Errorf("of nothing: %q", got)
	}
}
