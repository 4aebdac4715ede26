package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Changes describes the differences between a saved plan and the current one. It
// returns nothing if the saved plan can be applied.
func Changes(was, now Saved) []string {
	m := &moves{}
	m.basis(was.Inputs, now.Inputs)
	if !slices.Equal(was.Plan.Hops, now.Plan.Hops) {
		m.addf("the hops were %s and are %s", hopsText(was.Plan.Hops), hopsText(now.Plan.Hops))
	}
	m.lines = append(m.lines, StepChanges(was.Plan.Steps, now.Plan.Steps)...)
	return m.lines
}

// StepChanges describes the differences between two lists of steps.
func StepChanges(was, now []Step) []string {
	m := &moves{}
	was, now = withoutIdleSteps(was), withoutIdleSteps(now)
	before, after := byID(was), byID(now)
	m.steps(without(was, after), "step %s is no longer needed", "%d steps are no longer needed, %s and others")
	m.steps(without(now, before), "step %s was added", "%d steps were added, %s and others")
	for _, s := range now {
		b, there := before[s.ID]
		if !there {
			continue
		}
		for _, f := range Fields(asJSON(b), asJSON(s)) {
			m.changed(fmt.Sprintf("step %s: %s", s.ID, f.Path), f.Old, f.New)
		}
	}
	if len(m.lines) == 0 && !slices.EqualFunc(was, now, func(a, b Step) bool { return a.ID == b.ID }) {
		m.addf("the steps are the same in another order")
	}
	return m.lines
}

// asJSON returns a step as its file has it, so that every field is compared.
func asJSON(s Step) any {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // a step is made of text
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		panic(err)
	}
	return v
}

// without lists the steps that others do not have.
func without(steps []Step, others map[StepID]Step) []StepID {
	var ids []StepID
	for _, s := range steps {
		if _, there := others[s.ID]; !there {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// steps adds a line for each step, or one for all where they are many.
func (m *moves) steps(ids []StepID, each, many string) {
	const few = 5
	if len(ids) > few {
		m.addf(many, len(ids), ids[0])
		return
	}
	for _, id := range ids {
		m.addf(each, id)
	}
}

// moves collects differences, one line each.
type moves struct{ lines []string }

func (m *moves) addf(format string, args ...any) {
	m.lines = append(m.lines, fmt.Sprintf(format, args...))
}

func (m *moves) changed(what, was, now string) {
	if was != now {
		m.addf("%s was %s and is %s", what, orNothing(was), orNothing(now))
	}
}

// content is changed for digests, which say nothing to people.
func (m *moves) content(what, was, now string) {
	if was != now {
		m.addf("%s changed", what)
	}
}

func (m *moves) basis(was, now PlanInputs) {
	for _, file := range keysOf(was.Configuration, now.Configuration) {
		if was.Configuration[file] != now.Configuration[file] {
			m.addf("the configuration changed: %s", file)
		}
	}
	for _, name := range keysOf(was.Bundles, now.Bundles) {
		if b, needed := now.Bundles[name]; needed { // if not needed, steps were removed
			m.changed("the bundle of "+string(name), was.Bundles[name], b)
		}
	}
	m.changed("the API server responding", yes(was.APIReachable), yes(now.APIReachable))
	m.changed("Kubernetes", string(was.Current.Kubernetes), string(now.Current.Kubernetes))
	m.changed("services", string(was.Current.Services), string(now.Current.Services))
	m.changed("recorded services", string(was.RecordedServices), string(now.RecordedServices))
	for _, name := range keysOf(was.Services, now.Services) {
		m.changed("service "+name, string(was.Services[name]), string(now.Services[name]))
	}
	m.changed("pending migrations", listText(was.Unmigrated), listText(now.Unmigrated))
	m.content("the bootstrap objects of the cluster", was.Manifests.Bootstrap, now.Manifests.Bootstrap)
	m.content("the objects of CoreDNS", was.Manifests.DNS, now.Manifests.DNS)
	before, after := machinesOf(was), machinesOf(now)
	for _, name := range keysOf(before, after) {
		b, wasThere := before[name]
		a, isThere := after[name]
		switch {
		case !wasThere:
			m.addf("machine %s was added", name)
		case !isThere:
			m.addf("machine %s was removed", name)
		default:
			m.machine(b, a)
		}
	}
}

func (m *moves) machine(was, now MachineInputs) {
	what := "machine " + now.Name + ": "
	m.changed(what+"address", was.Address, now.Address)
	if was.Maintenance != now.Maintenance {
		m.changed(what+"in maintenance", yes(was.Maintenance), yes(now.Maintenance))
		return // nothing else was compared on one side
	}
	if was.Unreachable != now.Unreachable {
		m.changed(what+"reachable", yes(!was.Unreachable), yes(!now.Unreachable))
		return // nothing else is known on one side
	}
	m.changed(what+"joined", yes(was.Joined), yes(now.Joined))
	m.changed(what+"cordoned", was.Cordoned, now.Cordoned)
	m.changed(what+"programs", listText(was.Programs), listText(now.Programs))
	m.content(what+"the prepared files", was.PreparedAs, now.PreparedAs)
	for _, v := range keysOf(was.ProgramDigests, now.ProgramDigests) {
		if slices.Contains(was.Programs, v) == slices.Contains(now.Programs, v) { // else the list of programs shows it
			m.content(what+"the programs of "+string(v), was.ProgramDigests[v], now.ProgramDigests[v])
		}
	}
	m.changed(what+"images", listText(was.Images), listText(now.Images))
	for _, r := range keysOf(was.Roles, now.Roles) {
		m.changed(what+string(r)+" elects a leader", yes(was.Roles[r].Elects), yes(now.Roles[r].Elects))
		if b, a := was.Roles[r], now.Roles[r]; roleText(b) != roleText(a) {
			m.changed(what+string(r), roleText(b), roleText(a))
		} else {
			m.content(what+"the programs of "+string(r), b.Programs, a.Programs)
			m.content(what+"the settings of "+string(r), b.Settings, a.Settings)
		}
	}
}

func machinesOf(b PlanInputs) map[string]MachineInputs {
	all := map[string]MachineInputs{}
	for _, m := range b.Machines {
		all[m.Name] = m
	}
	return all
}

func byID(steps []Step) map[StepID]Step {
	all := make(map[StepID]Step, len(steps))
	for _, s := range steps {
		all[s.ID] = s
	}
	return all
}

// keysOf lists the keys of two maps, sorted.
func keysOf[K ~string, V any](a, b map[K]V) []K {
	all := map[K]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func roleText(r RoleState) string {
	switch r.Running {
	case r.Link:
		return string(r.Running)
	case "":
		return string(r.Link) + " (stopped)"
	default:
		return fmt.Sprintf("%s (next start: %s)", r.Running, orNothing(string(r.Link)))
	}
}

func hopsText(hops []Hop) string {
	var texts []string
	for _, h := range hops {
		texts = append(texts, fmt.Sprintf("%s %s → %s", h.Kind, h.From, h.To))
	}
	return orNothing(strings.Join(texts, ", "))
}

func listText[T ~string](list []T) string {
	var texts []string
	for _, v := range list {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, ", ")
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// PlanChangedError refuses a plan that differs from the one that was shown.
func PlanChangedError(what, advice string, lines []string) error {
	const shown = 30
	text := lines
	if len(text) > shown {
		text = append(slices.Clone(text[:shown]), fmt.Sprintf("and %d more", len(lines)-shown))
	}
	return pai.Errorf(pai.CodeRefused, advice, "%s; nothing was changed:\n  %s", what, strings.Join(text, "\n  "))
}
