package plan

import (
	"cmp"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Target is what an upgrade is asked for: the pair of a release, or one part
// of it, where the other moves only if the support plan forces it. Both
// "only"s together mean the same as neither.
type Target struct {
	Release        pai.Release `json:"release"`
	KubernetesOnly bool        `json:"kubernetesOnly,omitempty"`
	ServicesOnly   bool        `json:"servicesOnly,omitempty"`
}

// HopList is what `upgrade plan -o json` prints when it plans without a
// cluster.
type HopList struct {
	Hops []Hop `json:"hops"`
	// Notes are messages for the operator.
	Notes []string `json:"notes,omitempty"`
}

// Offline plans the hops without any cluster.
func Offline(releases []release.Manifest, from pai.Pair, target Target) (HopList, error) {
	hops, err := Hops(releases, from, target)
	if err != nil {
		return HopList{}, err
	}
	return HopList{Hops: hops, Notes: startNotes(releases, from)}, nil
}

// Hops finds the way from a pair to a target under the rules of the support
// plan:
//
//   - a services hop goes to newer services, and needs services of at least
//     their upgradableSince and Kubernetes of at least their compatibleSince;
//   - a Kubernetes hop goes to a newer Kubernetes, needs one of at least its
//     upgradableSince, and an upstream minor equal or one above;
//   - every state on the way is compatible; from a start that is not, the
//     first hop must fix it;
//   - a part newer than the target's stays where it is.
//
// Of all ways it takes one with the fewest hops, among those the fewest
// Kubernetes hops, among those the Kubernetes hops as late as possible, hop by
// hop from the first; what is still equal goes to the newest version first.
// With one part only, fewest hops of the other part come before all of that.
//
// The result is empty, not nil, when nothing is to be done. Where there is no
// way, the error (pai.CodeRefused) names the rule and the release that forbid
// it, and the nearest release that can be reached.
func Hops(releases []release.Manifest, from pai.Pair, target Target) ([]Hop, error) {
	t, err := newSupportMatrix(releases, from)
	if err != nil {
		return nil, err
	}
	row, err := findRelease(releases, target.Release)
	if err != nil {
		return nil, err
	}
	if from.Kubernetes == "" {
		return nil, pai.Errorf(pai.CodeRefused, "boot the cluster first; run: paictl cluster k8s-bootup", "no Kubernetes to upgrade")
	}
	start := t.state(from)
	if start == t.state(pairOf(row)) {
		return []Hop{}, nil
	}
	goal := t.goal(start, row, target)
	s := search{table: t, goal: goal, best: map[state]*path{}}
	if w := s.from(start); w != nil {
		return w.hops(t, start), nil
	}
	return nil, t.unreachable(releases, start, goal, target)
}

// Compatible returns nil when the services of a pair run on its Kubernetes,
// else an error that names the rule and the release.
func Compatible(releases []release.Manifest, p pai.Pair) error {
	t, err := newSupportMatrix(releases, p)
	if err != nil {
		return err
	}
	if found := t.incompatible(t.state(p)); p.Kubernetes != "" && len(found) > 0 {
		return pai.Errorf(pai.CodeRefused, "upgrade Kubernetes first; run: paictl upgrade apply --kubernetes --to "+string(found[0].release), "%s", found[0])
	}
	return nil
}

func startNotes(releases []release.Manifest, from pai.Pair) []string {
	if err := Compatible(releases, from); err != nil {
		return []string{"the current state is not supported, and the first hop must fix it: " + err.Error()}
	}
	return nil
}

func findRelease(releases []release.Manifest, name pai.Release) (release.Manifest, error) {
	if err := pai.CheckVersion(name); err != nil {
		return release.Manifest{}, pai.Errorf(pai.CodeUsage, "name a release; to list them, run: paictl release list", "target release: %w", err)
	}
	for _, r := range releases {
		if r.Metadata.Name.Compare(name) == 0 {
			return r, nil
		}
	}
	return release.Manifest{}, pai.Errorf(pai.CodeUsage, "to list the releases, run: paictl release list", "release %q not found", name)
}

func pairOf(r release.Manifest) pai.Pair {
	return pai.Pair{Services: r.Services.Version, Kubernetes: r.Kubernetes.Version}
}

// goal is the set of states that meet a target: each part between two
// versions of the table, both included.
type goal struct{ min, max state }

func (g goal) holds(s state) bool {
	return g.min.services <= s.services && s.services <= g.max.services &&
		g.min.kubernetes <= s.kubernetes && s.kubernetes <= g.max.kubernetes
}

func (t *supportMatrix) goal(start state, row release.Manifest, target Target) goal {
	to := t.state(pairOf(row))
	to.services = max(to.services, start.services)
	to.kubernetes = max(to.kubernetes, start.kubernetes)
	if t.services[start.services].version == "" {
		to.services = start.services // nothing is installed: that is for `service start`
	}
	g := goal{min: to, max: to}
	if target.KubernetesOnly && !target.ServicesOnly {
		g.min.services = start.services
	}
	if target.ServicesOnly && !target.KubernetesOnly {
		g.min.kubernetes = start.kubernetes
	}
	return g
}

// move is one hop between states of a table.
type move struct {
	kind HopKind
	to   state
}

// path is a sequence of moves, with the figures that rank it.
type path struct {
	extra      int // hops of the part that was not asked for
	kubernetes int // hops of Kubernetes
	moves      []move
}

// search finds the best way to a goal. All moves go up, so the states have no
// cycles and the best way from a state is its best move and the best way from
// there.
type search struct {
	table *supportMatrix
	goal  goal
	best  map[state]*path // nil where there is none
}

func (s *search) from(at state) *path {
	if w, known := s.best[at]; known {
		return w
	}
	var best *path
	if s.goal.holds(at) && len(s.table.incompatible(at)) == 0 {
		best = &path{}
	} else {
		for _, m := range s.table.moves(at, s.goal.max) {
			if len(s.table.forbids(at, m)) > 0 {
				continue
			}
			if rest := s.from(m.to); rest != nil {
				if w := s.prepend(m, rest); best == nil || s.compare(w, best) < 0 {
					best = w
				}
			}
		}
	}
	s.best[at] = best
	return best
}

// moves lists every move up from a state, forbidden or not.
func (t *supportMatrix) moves(at, limit state) []move {
	var moves []move
	for i := at.services + 1; i <= limit.services; i++ {
		if len(t.services[i].rows) > 0 {
			moves = append(moves, move{HopServices, state{i, at.kubernetes}})
		}
	}
	for i := at.kubernetes + 1; i <= limit.kubernetes; i++ {
		if len(t.kubernetes[i].rows) > 0 {
			moves = append(moves, move{HopKubernetes, state{at.services, i}})
		}
	}
	return moves
}

// forbids lists the rules that a move would break.
func (t *supportMatrix) forbids(at state, m move) []violation {
	if m.kind == HopServices {
		return t.moveServices(at, m.to.services)
	}
	return t.moveKubernetes(at, m.to.kubernetes)
}

// isExtraHop reports whether a hop is of the part that was not asked for.
func (g goal) isExtraHop(k HopKind) bool {
	if k == HopServices {
		return g.min.services != g.max.services
	}
	return g.min.kubernetes != g.max.kubernetes
}

func (s *search) prepend(m move, rest *path) *path {
	w := &path{extra: rest.extra, kubernetes: rest.kubernetes, moves: append([]move{m}, rest.moves...)}
	if s.goal.isExtraHop(m.kind) {
		w.extra++
	}
	if m.kind == HopKubernetes {
		w.kubernetes++
	}
	return w
}

// compare is negative when a is better than b.
func (s *search) compare(a, b *path) int {
	if c := cmp.Or(cmp.Compare(a.extra, b.extra), cmp.Compare(len(a.moves), len(b.moves)), cmp.Compare(a.kubernetes, b.kubernetes)); c != 0 {
		return c
	}
	if c := slices.CompareFunc(a.moves, b.moves, func(x, y move) int { return cmp.Compare(late(x.kind), late(y.kind)) }); c != 0 {
		return c
	}
	return slices.CompareFunc(a.moves, b.moves, func(x, y move) int {
		c := cmp.Or(cmp.Compare(y.to.services, x.to.services), cmp.Compare(y.to.kubernetes, x.to.kubernetes))
		if s.goal.isExtraHop(x.kind) {
			return -c
		}
		return c
	})
}

func late(k HopKind) int {
	if k == HopKubernetes {
		return 1
	}
	return 0
}

func (w *path) hops(t *supportMatrix, at state) []Hop {
	hops := []Hop{}
	for _, m := range w.moves {
		from, to := t.pair(at), t.pair(m.to)
		if m.kind == HopServices {
			hops = append(hops, servicesHop(from.Services, to.Services))
		} else {
			hops = append(hops, kubernetesHop(from.Kubernetes, to.Kubernetes))
		}
		at = m.to
	}
	return hops
}
