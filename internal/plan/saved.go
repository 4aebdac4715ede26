package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// SavedFormat is the format of a saved plan's file.
const SavedFormat = "pai.dev/plan/v1"

// Saved is the file of a plan between `upgrade plan --save` and `upgrade apply
// --plan`. PAI computes the plan again from the observed state, and applies it
// only if plan and inputs are equal to the saved ones. So nothing in the file
// needs to be trusted.
type Saved struct {
	Format    string `json:"format"`
	ClusterID string `json:"clusterId"`
	// Made and By are informational.
	Made   string     `json:"made"` // RFC 3339
	By     string     `json:"by"`   // user@host
	Target Target     `json:"target"`
	Inputs PlanInputs `json:"basis"`
	Plan   Plan       `json:"plan"`
	// Jobs are the running jobs that each step can affect, at the time of the
	// plan. The guard checks the jobs that run when a step starts.
	Jobs map[StepID][]pai.JobRef `json:"jobs,omitempty"`
}

// PlanInputs is the part of the observed state that decides what the steps do.
// It excludes health, which shows as a step.
type PlanInputs struct {
	APIReachable     bool                           `json:"apiReachable"`
	Current          pai.Pair                       `json:"current"`
	RecordedServices pai.ServicesVersion            `json:"recordedServices,omitempty"`
	Services         map[string]pai.ServicesVersion `json:"services"`
	Unmigrated       []string                       `json:"unmigrated,omitempty"`
	Machines         []MachineInputs                `json:"machines"`
	Manifests        Manifests                      `json:"manifests,omitzero"`
	// Bundles are the digests of the bundles that the steps take from.
	Bundles map[pai.Release]string `json:"bundles"`
	// Configuration gives a digest of what each file says besides the versions.
	Configuration map[string]string `json:"configuration"`
}

// MachineInputs is one machine in a PlanInputs.
type MachineInputs struct {
	Name        string                  `json:"name"`
	Address     string                  `json:"address"`
	Unreachable bool                    `json:"unreachable,omitempty"`
	Maintenance bool                    `json:"maintenance,omitempty"` // no step changes it; the rest is empty
	Joined      bool                    `json:"joined"`
	Cordoned    string                  `json:"cordoned,omitempty"` // "by PAI" or "by an operator"
	Programs    []pai.KubernetesVersion `json:"programs"`
	Images      []string                `json:"images"`
	Roles       map[Role]RoleState      `json:"roles"`
	// PreparedAs and ProgramDigests are those of MachineState.
	PreparedAs     string                           `json:"preparedAs,omitempty"`
	ProgramDigests map[pai.KubernetesVersion]string `json:"programDigests,omitempty"`
}

// PlanInputsOf returns the inputs of a plan that is made from w.
func PlanInputsOf(w World, bundles map[pai.Release]string, configuration map[string]string) PlanInputs {
	b := PlanInputs{
		APIReachable: w.APIReachable, Current: w.Current, RecordedServices: w.RecordedServices, Services: map[string]pai.ServicesVersion{},
		Unmigrated: sorted(w.Unmigrated), Manifests: w.Manifests, Machines: []MachineInputs{}, Bundles: bundles, Configuration: configuration,
	}
	for name, s := range w.Services {
		b.Services[name] = s.Release
	}
	for _, m := range w.Machines {
		if m.Maintenance != nil {
			b.Machines = append(b.Machines, MachineInputs{Name: m.Name, Address: m.Address, Maintenance: true})
			continue
		}
		mb := MachineInputs{Name: m.Name, Address: m.Address, Unreachable: m.Unreachable != "", Joined: m.Joined,
			Programs: sorted(m.Programs), Images: sorted(m.Images), Roles: m.Roles, PreparedAs: m.PreparedAs, ProgramDigests: m.ProgramDigests}
		if m.Node != nil && m.Node.Unschedulable {
			mb.Cordoned = "by an operator"
			if m.Node.CordonedByPAI {
				mb.Cordoned = "by PAI"
			}
		}
		b.Machines = append(b.Machines, mb)
	}
	return b
}

func sorted[T ~string](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// savedLimit bounds the size of a plan's file: 5,000 machines need a tenth.
const savedLimit = 256 << 20

// ParseSaved reads a saved plan. It refuses a file with unknown fields, kinds, or
// risks.
func ParseSaved(data []byte) (Saved, error) {
	const advice = "save and review a new plan; run: paictl upgrade plan --save FILE"
	if len(data) > savedLimit {
		return Saved{}, pai.Errorf(pai.CodeInvalid, advice, "the file has %d bytes, more than the limit of %d", len(data), savedLimit)
	}
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Saved{}, pai.Errorf(pai.CodeInvalid, advice, "not a saved plan: %w", err)
	}
	if head.Format != SavedFormat {
		return Saved{}, pai.Errorf(pai.CodeInvalid, advice, "the format is %q, want %q", head.Format, SavedFormat)
	}
	var s Saved
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Saved{}, pai.Errorf(pai.CodeInvalid, advice, "not a saved plan: %w", err)
	}
	if err := s.check(); err != nil {
		return Saved{}, pai.Errorf(pai.CodeInvalid, advice, "the saved plan is damaged: %w", err)
	}
	return s, nil
}

func (s Saved) check() error {
	var problems []error
	if s.ClusterID == "" {
		problems = append(problems, errors.New("clusterId is missing"))
	}
	if err := pai.CheckVersion(s.Target.Release); err != nil {
		problems = append(problems, fmt.Errorf("target: %w", err))
	}
	for _, step := range s.Plan.Steps {
		if !step.Kind.Known() {
			problems = append(problems, fmt.Errorf("step %q has unknown kind %q", step.ID, step.Kind))
		}
		if !slices.Contains(risks(), step.Risk) {
			problems = append(problems, fmt.Errorf("step %q has unknown risk %q", step.ID, step.Risk))
		}
	}
	return errors.Join(append(problems, s.Plan.Validate())...)
}

func risks() []pai.Risk {
	return []pai.Risk{pai.RiskNone, pai.RiskAPI, pai.RiskNode, pai.RiskDataPath, pai.RiskEviction}
}

// NewJobs lists by name the jobs of a preview that did not run when the plan was
// saved.
func (s Saved) NewJobs(now map[StepID][]pai.JobRef) []string {
	before := map[pai.JobRef]bool{}
	for _, jobs := range s.Jobs {
		for _, j := range jobs {
			before[j] = true
		}
	}
	found := map[string]bool{}
	for _, jobs := range now {
		for _, j := range jobs {
			if !before[j] {
				found[j.String()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
