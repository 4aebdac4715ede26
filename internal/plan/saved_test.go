package plan

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// saved is what `upgrade plan --save` keeps of a world.
func saved(t testing.TB, in Input) Saved {
	t.Helper()
	p, err := Upgrade(in, Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	return Saved{
		Format: SavedFormat, ClusterID: "lab", Made: "2026-11-22T12:00:00Z", By: "ann@desk", Target: Target{Release: "v0.10"}, Plan: p,
		Jobs:   jobsOn(p, "gpu-01"),
		Inputs: PlanInputsOf(in.World, map[pai.Release]string{"v0.10": "sha256:ten"}, map[string]string{"layout.yaml": "sha256:a"}),
	}
}

func onNine() Input { return running(twoReleases(), "v0.9", "cp-01", "gpu-01") }

// ParseSaved returns what was saved, and the same state makes an equal plan.
func TestParseSavedReturnsEqualPlan(t *testing.T) {
	s := saved(t, onNine())
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseSaved(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Plan.Steps {
		s.Plan.Steps[i].Phase = "" // is not stored
	}
	if !reflect.DeepEqual(read.Plan, s.Plan) || read.Target != s.Target || !reflect.DeepEqual(read.Jobs, s.Jobs) {
		t.Errorf("read back %+v", read)
	}
	if moved := Changes(read, saved(t, onNine())); len(moved) > 0 {
		t.Errorf("nothing moved, and it says %q", moved)
	}
}

// Every difference is named.
func TestChangesNamesEveryDifference(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(in *Input)
		now        func(s *Saved)
	}{
		{"a machine came", "machine gpu-02 was added", func(in *Input) {
			in.World.Machines = append(in.World.Machines, MachineState{Name: "gpu-02", Address: "10.0.0.3"})
		}, nil},
		{"a machine went", "machine gpu-01 was removed", func(in *Input) { in.World.Machines = in.World.Machines[:1] }, nil},
		{"a machine is lost", "machine gpu-01: reachable was yes and is no", func(in *Input) {
			in.World.Machines[1] = MachineState{Name: "gpu-01", Address: "10.0.0.2", Unreachable: "no route"}
		}, nil},
		{"a kubelet is newer", "machine gpu-01: kubelet was v0.9-pai and is v0.10-pai", func(in *Input) {
			in.World.Machines[1].Roles[RoleKubelet] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai"}
		}, nil},
		{"and its step vanished", "step kubernetes/v0.10-pai/machine/gpu-01/kubelet is no longer needed", func(in *Input) {
			in.World.Machines[1].Roles[RoleKubelet] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai"}
		}, nil},
		{"an operator cordoned", "machine gpu-01: cordoned was nothing and is by an operator", func(in *Input) {
			in.World.Machines[1].Node.Unschedulable = true
		}, nil},
		{"a service stopped", "service storage was v0.9 and is nothing", func(in *Input) { delete(in.World.Services, "storage") }, nil},
		{"a service is not well", "", func(in *Input) {
			in.World.Services["storage"] = Installed{Release: "v0.9", Message: "its pod does not start"}
		}, nil}, // its step is there anyway
		{"Kubernetes moved", "Kubernetes was v0.9-pai and is v0.10-pai", func(in *Input) { in.World.Current.Kubernetes = "v0.10-pai" }, nil},
		{"the hops moved", "the hops were kubernetes v0.9-pai → v0.10-pai, services v0.9 → v0.10 and are services v0.9 → v0.10",
			func(in *Input) { in.World.Current.Kubernetes = "v0.10-pai" }, nil},
		{"migrated meanwhile", "pending migrations was users-by-entry and is nothing", func(in *Input) { in.World.Unmigrated = nil }, nil},
		{"another bundle", "the bundle of v0.10 was sha256:ten and is sha256:other", nil, func(s *Saved) { s.Inputs.Bundles["v0.10"] = "sha256:other" }},
		{"other configuration", "the configuration changed: layout.yaml", nil, func(s *Saved) { s.Inputs.Configuration["layout.yaml"] = "sha256:b" }},
		{"a risk", "risk was none and is node", nil, func(s *Saved) { s.Plan.Steps[0].Risk = pai.RiskNode }},
		{"the order", "the steps are the same in another order", nil, func(s *Saved) { slices.Reverse(s.Plan.Steps) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			was, in := saved(t, onNine()), onNine()
			if c.change != nil {
				c.change(&in)
			}
			now := saved(t, in)
			if c.now != nil {
				c.now(&now)
			}
			moved := Changes(was, now)
			if c.want == "" && len(moved) > 0 {
				t.Errorf("nothing moved, and it says %q", moved)
			}
			if c.want != "" && !slices.ContainsFunc(moved, func(line string) bool { return strings.Contains(line, c.want) }) {
				t.Errorf("%q does not say %q", moved, c.want)
			}
		})
	}
}

// Changes finds every edit of a step. reflect.DeepEqual is the slow oracle.
func TestChangesFindsEveryEdit(t *testing.T) {
	was := saved(t, onNine())
	rapid.Check(t, func(t *rapid.T) {
		edited := was
		edited.Plan.Steps = slices.Clone(was.Plan.Steps)
		i := rapid.IntRange(0, len(edited.Plan.Steps)-1).Draw(t, "step")
		s := &edited.Plan.Steps[i]
		switch rapid.IntRange(0, 8).Draw(t, "edit") {
		case 0:
			edited.Plan.Steps = slices.Delete(edited.Plan.Steps, i, i+1)
		case 1:
			s.After = s.After[:len(s.After)/2]
		case 2:
			s.To = "v0.11"
		case 3:
			s.From = ""
		case 4:
			s.Risk = pai.RiskNone
		case 5:
			s.Wipe = !s.Wipe
		case 6:
			s.Target = "gpu-01"
		case 7:
			s.Kind = KindClean
		case 8:
			s.Role = RoleKubelet
		}
		same := reflect.DeepEqual(was.Plan.Steps, edited.Plan.Steps)
		if said := len(Changes(edited, was)) == 0; said != same {
			t.Fatalf("the edit of %s: said to be the same: %v, is the same: %v", was.Plan.Steps[i].ID, said, same)
		}
	})
}

// Every field of the inputs is compared, also one that is added later. The
// exception is RoleState.Emulates: the steps show it.
func TestChangesFindsEveryInput(t *testing.T) {
	in := onNine()
	in.World.Machines[1].Node.Unschedulable = true
	was, now := saved(t, in), saved(t, in)
	data, err := json.Marshal(was.Inputs)
	if err != nil {
		t.Fatal(err)
	}
	if now.Inputs = (PlanInputs{}); json.Unmarshal(data, &now.Inputs) != nil || len(Changes(was, now)) > 0 {
		t.Fatalf("inputs without an edit differ: %q", Changes(was, now))
	}
	seen := map[string]bool{}
	editEach("", reflect.ValueOf(&now.Inputs).Elem(), func(field string) {
		if seen[field] = true; field != ".Machines.Roles.Emulates" && len(Changes(was, now)) == 0 {
			t.Errorf("an edit of %s is not found", field)
		}
	})
	for _, field := range []string{".APIReachable", ".Current.Services", ".Services", ".Unmigrated", ".Bundles", ".Configuration", ".Machines.Programs", ".Machines.Roles.Running"} {
		if !seen[field] {
			t.Errorf("no edit of %s in %v", field, seen)
		}
	}
}

// editEach changes each text and each bool in v, one at a time, and calls check
// with the path of its field while it is changed.
func editEach(path string, v reflect.Value, check func(field string)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			editEach(path+"."+v.Type().Field(i).Name, v.Field(i), check)
		}
	case reflect.Slice:
		for i := range v.Len() {
			editEach(path, v.Index(i), check)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			was, edited := v.MapIndex(key), reflect.New(v.Type().Elem()).Elem()
			edited.Set(was)
			editEach(path, edited, func(field string) {
				v.SetMapIndex(key, edited)
				check(field)
			})
			v.SetMapIndex(key, was)
		}
	case reflect.String:
		was := v.String()
		v.SetString(was + "x")
		check(path)
		v.SetString(was)
	case reflect.Bool:
		v.SetBool(!v.Bool())
		check(path)
		v.SetBool(!v.Bool())
	default:
		panic("no edit for " + path + ", a " + v.Kind().String())
	}
}

func TestParseSavedRefuses(t *testing.T) {
	whole := func(change func(s *Saved)) string {
		s := saved(t, onNine())
		s.Plan.Steps = slices.Clone(s.Plan.Steps)
		change(&s)
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "not a saved plan"},
		{"another thing", `{"steps":[]}`, `the format is ""`},
		{"a later format", `{"format":"pai.dev/plan/v2","steps":{}}`, `the format is "pai.dev/plan/v2"`},
		{"a field of a later paictl", strings.Replace(whole(func(*Saved) {}), `"clusterId"`, `"more":1,"clusterId"`, 1), `unknown field "more"`},
		{"no cluster", whole(func(s *Saved) { s.ClusterID = "" }), "clusterId is missing"},
		{"no target", whole(func(s *Saved) { s.Target.Release = "" }), "target"},
		{"an unknown kind", whole(func(s *Saved) { s.Plan.Steps[0].Kind = "machine-explode" }), `kind "machine-explode"`},
		{"an unknown risk", whole(func(s *Saved) { s.Plan.Steps[0].Risk = "some" }), `risk "some"`},
		{"a step that waits for none that is there", whole(func(s *Saved) { s.Plan.Steps = s.Plan.Steps[3:] }), "waits for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseSaved([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) || pai.CodeOf(err) != pai.CodeInvalid {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNewJobsListsJobsNotInSavedPlan(t *testing.T) {
	s := saved(t, onNine())
	now := map[StepID][]pai.JobRef{"x": {{User: "ann", Name: "llama"}, {User: "bob", Name: "bert"}}, "y": {{User: "bob", Name: "bert"}}}
	if got := s.NewJobs(now); !slices.Equal(got, []string{"bob~bert"}) {
		t.Errorf("new jobs: %q", got)
	}
}
