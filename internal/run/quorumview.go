package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// view says which machines vote, and which of them have everything that was stored. A holder of
// the lock writes it into a file beside those of the lock. The name has the number of that lock
// and counts the views of its holder, and no file is written twice: a late write of a
// process that lost its lock changes no newer view.
type view struct {
	Electors []string `json:"electors"`
	// Next is set while the electorate changes: a majority of both is needed then.
	Next   []string `json:"next,omitempty"`
	InSync []string `json:"inSync"`
	// Settled is set when the holder released the lock after writes that all succeeded: the
	// copies in sync are equal.
	Settled bool `json:"settled,omitempty"`

	id viewID
}

type viewID struct{ lock, change int }

func (a viewID) before(b viewID) bool {
	return a.lock < b.lock || (a.lock == b.lock && a.change < b.change)
}

func (a viewID) file() string { return fmt.Sprintf("%s.%06d.json", LockFile(a.lock), a.change) }

// viewIDOf reads the name of a view.
func viewIDOf(name string) (viewID, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || len(parts[0]) != 9 || len(parts[1]) != 6 || parts[2] != "json" {
		return viewID{}, false
	}
	lock, errLock := strconv.Atoi(parts[0])
	change, errChange := strconv.Atoi(parts[1])
	return viewID{lock, change}, errLock == nil && errChange == nil
}

// alone is the view of a machine without one: it is the cluster.
func alone(name string) view {
	return view{Electors: []string{name}, InSync: []string{name}, Settled: true}
}

func (v view) clone() view {
	v.Electors, v.Next, v.InSync = slices.Clone(v.Electors), slices.Clone(v.Next), slices.Clone(v.InSync)
	return v
}

// agreed reports whether a majority has something, of both electorates during a change.
func (v view) agreed(has func(string) bool) bool {
	return majority(v.Electors, has) && (len(v.Next) == 0 || majority(v.Next, has))
}

func majority(group []string, has func(string) bool) bool {
	n := 0
	for _, name := range group {
		if has(name) {
			n++
		}
	}
	return 2*n > len(group)
}

// members are all machines that vote.
func (v view) members() []string {
	return distinct(append(slices.Clone(v.Electors), v.Next...))
}

// distinct leaves out repeated names, and keeps the order.
func distinct(names []string) (once []string) {
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// sameElectorate reports whether the same machines vote in two views.
func (v view) sameElectorate(w view) bool {
	return slices.Equal(v.Electors, w.Electors) && slices.Equal(v.Next, w.Next)
}

// listed is a function that reports whether a name is in a list.
func listed(names []string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// look is what one machine has of lock and views.
type look struct {
	numbers []int // of lock files, lowest first
	top     claim // the highest that was not withdrawn; number 0 if there is none
	views   []viewID
	view    *view // the newest; nil if there is none
}

// claim is the content of a lock file.
type claim struct {
	number int
	Holder
}

// lookAt reads lock and view of a machine. A file that was removed since the directory was
// listed is replaced by a newer one, so it lists again.
func lookAt(ctx context.Context, s Store) (l look, err error) {
	for range 5 {
		if l, err = lookOnce(ctx, s); !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	return l, err
}

func lookOnce(ctx context.Context, s Store) (look, error) {
	names, err := s.ReadDir(ctx, path.Join(Dir, "lock"))
	if err != nil {
		return look{}, err
	}
	l := look{numbers: numbersIn(names)}
	for _, name := range names {
		if id, ok := viewIDOf(name); ok {
			l.views = append(l.views, id)
		}
	}
	slices.SortFunc(l.views, func(a, b viewID) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	if n := len(l.views); n > 0 {
		data, err := s.ReadFile(ctx, l.views[n-1].file())
		if err != nil {
			return l, err
		}
		l.view = &view{id: l.views[n-1]}
		if err := json.Unmarshal(data, l.view); err != nil {
			return l, fmt.Errorf("%s is damaged: %w", l.views[n-1].file(), err)
		}
	}
	for _, number := range slices.Backward(l.numbers) {
		h, err := readHolder(ctx, s, number)
		if err != nil {
			return l, err
		}
		if !h.Withdrawn {
			l.top = claim{number, h}
			break
		}
	}
	return l, nil
}

// survey is what the machines of the configuration have of lock and views.
type survey struct {
	looks  map[string]look
	failed map[string]error
	view   view // the newest; of several clusters, that of the first
	known  bool // false if a machine without an answer might be the cluster
}

// survey asks all machines, and does not wait long for more than a majority.
func (q *Quorum) survey(ctx context.Context) survey {
	names := q.names()
	looks, failed := askAll(ctx, q, names, func(looks map[string]look) bool {
		s := q.surveyOf(looks, nil)
		return s.view.id.lock > 0 && s.answered()
	}, func(ctx context.Context, e Elector) (look, error) { return lookAt(ctx, e.Store) })
	return q.surveyOf(looks, failed)
}

func (q *Quorum) surveyOf(looks map[string]look, failed map[string]error) survey {
	s := survey{looks: looks, failed: failed}
	var newest *view
	var clusters, answered []string
	for _, e := range q.electors {
		l, ok := looks[e.Name]
		if !ok {
			continue
		}
		answered = append(answered, e.Name)
		if len(l.numbers) > 0 {
			clusters = append(clusters, e.Name)
		}
		if l.view != nil && (newest == nil || newest.id.before(l.view.id)) {
			newest = l.view
		}
	}
	switch {
	case newest != nil:
		s.view, s.known = newest.clone(), true
		s.withoutLost()
	case len(clusters) > 0:
		s.view, s.known = alone(clusters[0]), len(clusters) == 1
	case len(answered) == len(q.electors):
		s.view, s.known = alone(q.electors[0].Name), true
	default:
		s.view = view{Electors: q.names(), InSync: answered}
	}
	return s
}

// withoutLost treats a machine that votes and has no view as one that failed: a vote of a disk
// that was replaced could count twice, and a majority with it could have no newest view.
func (s *survey) withoutLost() {
	s.looks, s.failed = maps.Clone(s.looks), maps.Clone(s.failed)
	for _, name := range s.view.members() {
		if l, ok := s.looks[name]; ok && l.view == nil {
			delete(s.looks, name)
			if s.failed != nil {
				s.failed[name] = errLost
			}
		}
	}
}

// answered reports whether the view is the newest: a majority of its electorate answered.
func (s survey) answered() bool {
	return s.known && s.view.agreed(func(name string) bool { _, ok := s.looks[name]; return ok })
}
