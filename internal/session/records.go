package session

import (
	"context"
	"slices"
	"sync"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/run"
)

// recordStore is the store on several control-plane machines. It is one for a session, because
// it writes only while it holds the lock.
type recordStore struct {
	once   sync.Once
	quorum *run.Quorum
}

// Store has the lock, the journal, and the revisions of the configuration: on the
// control-plane machine, or on a majority if there are several. If less than a majority
// answers, what is read can be outdated, which is reported as progress.
func (s *Session) Store() (run.Store, error) {
	if len(s.Config.ControlPlanes()) < 2 {
		return s.ControlPlane()
	}
	s.records.once.Do(func() {
		s.records.quorum = run.NewQuorum(s.electors(), run.QuorumOptions{
			Notify: s.Progressf,
			Stale:  func(err error) { s.Progressf("%v", err) },
		})
	})
	return s.records.quorum, nil
}

// electors are the control-plane machines, the Seed first.
func (s *Session) electors() []run.Elector {
	machines := s.Config.ControlPlanes()
	seed := s.Seed().Hostname
	slices.SortStableFunc(machines, func(a, b config.Machine) int {
		switch {
		case a.Hostname == b.Hostname:
			return 0
		case a.Hostname == seed:
			return -1
		case b.Hostname == seed:
			return 1
		default:
			return 0
		}
	})
	var electors []run.Elector
	for _, m := range machines {
		e := run.Elector{Name: m.Hostname}
		if h := s.Hosts[m.Hostname]; h != nil { // not a Store without a host
			e.Store = h
		}
		electors = append(electors, e)
	}
	if s.Lost != "" {
		electors = append(electors, run.Elector{Name: s.Lost}) // its vote is known, and it has none now
	}
	return electors
}

// GrowElectorate gives every control-plane machine of the layout, and no other, a vote on the
// lock, which this session holds, and the records. With one machine there is nothing to do. An operation calls it
// right before it makes machines a part of the control plane: until then, a new one that is off
// keeps no command from its work.
func (s *Session) GrowElectorate(ctx context.Context) error {
	store, err := s.Store()
	if err != nil {
		return err
	}
	q, several := store.(*run.Quorum)
	if !several {
		return nil
	}
	var names []string
	for _, m := range s.Config.ControlPlanes() {
		names = append(names, m.Hostname)
	}
	return q.ChangeElectorate(ctx, names)
}
