package plan

import (
	"cmp"
	"fmt"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// unreachable says why a goal cannot be reached: the rules on the way that breaks
// the fewest of them, and how far one gets without breaking any.
func (t *supportMatrix) unreachable(releases []release.Manifest, start state, g goal, target Target) error {
	e := &explain{table: t, goal: g, least: map[state]*route{}}
	var rules []string
	for _, b := range e.violations(start) {
		rules = append(rules, b.String())
	}
	message := fmt.Sprintf("%s cannot reach release %s: %s", t.pair(start), target.Release, strings.Join(rules, "; and "))

	near, hops := t.nearest(releases, start, target)
	switch {
	case near == "":
		return &pai.Error{Code: pai.CodeRefused, Message: message + "; no release can be reached from here",
			Next: "to list the versions that can upgrade to each release, run: paictl release list"}
	case !hops && len(t.unknown(start)) > 0:
		return &pai.Error{Code: pai.CodeRefused, Message: message + "; the support plan has no release with " + strings.Join(t.unknown(start), " and "),
			Next: "use a newer paictl, which knows what runs; to list the versions that this one knows, run: paictl release list"}
	case !hops:
		return &pai.Error{Code: pai.CodeRefused, Message: message + fmt.Sprintf("; the nearest reachable release is %s, the current one", near),
			Next: "get the releases in between; to list the versions that can upgrade to each, run: paictl release list"}
	default:
		return &pai.Error{Code: pai.CodeRefused, Message: message + fmt.Sprintf("; the nearest reachable release is %s", near),
			Next: fmt.Sprintf("to preview the upgrade to that release, run: paictl upgrade plan --to %s", near)}
	}
}

// unknown lists the versions of a state that no release has, such as those of a
// patch release that came out after this paictl.
func (t *supportMatrix) unknown(s state) []string {
	var unknown []string
	if p := t.services[s.services]; p.version != "" && len(p.rows) == 0 {
		unknown = append(unknown, "services "+string(p.version))
	}
	if p := t.kubernetes[s.kubernetes]; p.version != "" && len(p.rows) == 0 {
		unknown = append(unknown, "Kubernetes "+string(p.version))
	}
	return unknown
}

// route is a way that may break rules.
type route struct {
	violations []violation
	hops       int
}

// explain finds the way that breaks the fewest rules, among those one with
// the fewest hops.
type explain struct {
	table *supportMatrix
	goal  goal
	least map[state]*route
}

func (e *explain) violations(start state) []violation {
	if e.goal.holds(start) && start == e.goal.max {
		return e.table.incompatible(start)
	}
	if d := e.from(start); d != nil {
		return d.violations
	}
	return nil
}

func (e *explain) from(at state) *route {
	if d, known := e.least[at]; known {
		return d
	}
	var best *route
	if e.goal.holds(at) && len(e.table.incompatible(at)) == 0 {
		best = &route{}
	}
	if at == e.goal.max {
		best = &route{} // the move that led here has counted what forbids it
	}
	for _, m := range e.table.moves(at, e.goal.max) {
		rest := e.from(m.to)
		if rest == nil {
			continue
		}
		d := &route{violations: append(e.table.forbids(at, m), rest.violations...), hops: rest.hops + 1}
		if best == nil || cmp.Or(cmp.Compare(len(d.violations), len(best.violations)), cmp.Compare(d.hops, best.hops)) < 0 {
			best = d
		}
	}
	e.least[at] = best
	return best
}

// nearest is the newest release up to the target that can be reached, else the
// oldest one beyond it, and whether that takes any hop.
func (t *supportMatrix) nearest(releases []release.Manifest, start state, target Target) (name pai.Release, hops bool) {
	reached := t.reachable(start)
	var best *release.Manifest
	for _, r := range releases {
		g := t.goal(start, r, target)
		if !reached.any(func(s state) bool { return g.holds(s) && len(t.incompatible(s)) == 0 }) {
			continue
		}
		if best == nil || nearer(r, *best, target.Release) {
			best = &r
		}
	}
	if best == nil {
		return "", false
	}
	return best.Metadata.Name, !t.goal(start, *best, target).holds(start)
}

func nearer(a, b release.Manifest, target pai.Release) bool {
	va, vb := a.Metadata.Name, b.Metadata.Name
	if va.AtLeast(target) != vb.AtLeast(target) {
		return vb.AtLeast(target)
	}
	if va.AtLeast(target) {
		return va.Less(vb)
	}
	return vb.Less(va)
}

type states map[state]bool

func (set states) any(ok func(state) bool) bool {
	for s := range set {
		if ok(s) {
			return true
		}
	}
	return false
}

// reachable is every state that allowed moves lead to, the start included.
func (t *supportMatrix) reachable(start state) states {
	reached := states{start: true}
	limit := state{len(t.services) - 1, len(t.kubernetes) - 1}
	for queue := []state{start}; len(queue) > 0; queue = queue[1:] {
		for _, m := range t.moves(queue[0], limit) {
			if !reached[m.to] && len(t.forbids(queue[0], m)) == 0 {
				reached[m.to] = true
				queue = append(queue, m.to)
			}
		}
	}
	return reached
}
