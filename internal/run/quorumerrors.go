package run

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// ErrStale means that less than a majority of the control-plane machines answered. What was
// read with it can be outdated.
var ErrStale = errors.New("the records can be outdated")

// stale makes an ErrStale. It returns nil if it was reported instead.
func (q *Quorum) stale(why error) error {
	err := &pai.Error{Code: pai.CodeOf(why), Err: fmt.Errorf("%w: %w", ErrStale, why), Next: pai.NextOf(why)}
	if q.o.Stale == nil {
		return err
	}
	q.mu.Lock()
	known := q.reported[err.Error()]
	q.reported[err.Error()] = true
	q.mu.Unlock()
	if !known {
		q.o.Stale(err)
	}
	return nil
}

// usable returns why the lock cannot be used; nil if a majority of the electorate answered,
// and the configuration has all of it.
func (q *Quorum) usable(s survey) error {
	if err := q.outdated(s.view); s.known && err != nil {
		return err
	}
	if !s.answered() {
		return q.tooFew(s)
	}
	return nil
}

// outdated is the error for a configuration that lacks a machine that votes.
func (q *Quorum) outdated(v view) error {
	missing := slices.DeleteFunc(v.members(), listed(q.names()))
	if len(missing) == 0 {
		return nil
	}
	err := olderConfiguration("control-plane machine " + list(missing) + " is not in it")
	return pai.Errorf(pai.CodeOf(err), pai.NextOf(err)+"\nif "+missing[0]+" is lost and another machine takes its place, run: paictl machine replace "+missing[0]+" --with MACHINE", "%w", err)
}

// olderConfiguration is the error for a configuration from before the control plane changed.
func olderConfiguration(why string) error {
	return pai.Errorf(pai.CodeRefused, "pull the newest configuration; run: paictl config pull", "the configuration is older than the cluster: %s", why)
}

// tooFew is the error for less than a majority.
func (q *Quorum) tooFew(s survey) error {
	failed := map[string]error{}
	for _, name := range s.view.members() {
		if _, ok := s.looks[name]; ok {
			continue
		}
		if failed[name] = s.failed[name]; failed[name] == nil {
			failed[name] = q.absence(name)
		}
	}
	if !s.known && len(failed) == 0 {
		return pai.Errorf(pai.CodeRefused, "in the layout, name as control-plane machines only those of one cluster, and clean the others",
			"several control-plane machines have records of a cluster, and they are not one control plane")
	}
	err := tooFewOf(s.view, failed)
	if live, _ := q.holders(s); len(live) > 0 {
		err.Err = fmt.Errorf("%w; the lock was last held by %s", err.Err, live[0].Holder)
	}
	return err
}

// tooFewOf is the error for machines that failed.
func tooFewOf(v view, failed map[string]error) *pai.Error {
	members := v.members()
	n := len(members) - len(failed)
	be := "are"
	if n == 1 {
		be = "is"
	}
	next := fmt.Sprintf("check that %s runs and that ssh to it works from this host, then run the command again", list(keys(failed)))
	if len(failed) > 1 {
		next = fmt.Sprintf("check that %s run and that ssh to them works from this host, then run the command again", list(keys(failed)))
	}
	return pai.Errorf(pai.CodeFailed, next, "%d of %d control-plane machines %s reachable, and %d are needed: %s",
		n, len(members), be, len(members)/2+1, reasons(failed))
}

// tooFewInSync is the error if less than a majority would have current records.
func (q *Quorum) tooFewInSync(v view, failed map[string]error) error {
	for _, name := range v.members() {
		if failed[name] == nil && !slices.Contains(v.InSync, name) {
			failed[name] = errors.New("its records are outdated")
		}
	}
	return tooFewOf(v, failed)
}

func keys(failed map[string]error) []string { return slices.Sorted(maps.Keys(failed)) }

// list joins names for a sentence.
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}
