package quorum

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// three are the healthy voters of three machines; cp1 leads.
func three() State {
	var s State
	for i := range uint64(3) {
		s.Members = append(s.Members, Member{ID: i + 1, Name: fmt.Sprintf("cp%d-a", i+1), Machine: fmt.Sprintf("cp%d", i+1), Cluster: 7, Leader: 1, Term: 4, Index: 5000, Applied: 5000})
	}
	return s
}

func TestCanStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *State)
		want   string // part of the error; no error if empty
	}{
		"all healthy":                       {func(*State) {}, ""},
		"the own member is not healthy":     {func(s *State) { s.Members[1].Unhealthy = "timeout" }, ""},
		"the own member is unknown":         {func(s *State) { s.Members[1].Unknown = "timeout" }, ""},
		"one other is not healthy":          {func(s *State) { s.Members[2].Unhealthy = "timeout" }, "etcd on cp3 is not healthy: timeout"},
		"one other is unknown":              {func(s *State) { s.Members[2].Unknown = "no route" }, "etcd on cp3 is unknown: no route"},
		"one other has no leader":           {func(s *State) { s.Members[0].Leader = 0 }, "etcd on cp1 has no leader"},
		"the others follow two leaders":     {func(s *State) { s.Members[2].Leader = 3 }, "etcd on cp1 and etcd on cp3 follow different leaders"},
		"the others have two terms":         {func(s *State) { s.Members[2].Term = 5 }, "follow different leaders"},
		"the others are of two clusters":    {func(s *State) { s.Members[2].Cluster = 8 }, "are of different clusters"},
		"one other is behind":               {func(s *State) { s.Members[2].Applied = 4000 }, "etcd on cp3 is 1000 entries of the log behind"},
		"one other is nearly behind":        {func(s *State) { s.Members[2].Applied = 4001 }, ""},
		"the own member has the newest log": {func(s *State) { s.Members[1].Index = 7000 }, "etcd on cp1 is 2000 entries of the log behind"},
		"a learner": {func(s *State) {
			s.Members = append(s.Members, Member{ID: 4, Name: "cp4-a", Machine: "cp4", Learner: true})
		}, "etcd on cp4 does not vote yet"},
		"a voter that never started": {func(s *State) { s.Members = append(s.Members, Member{ID: 4, Unknown: "it never started"}) }, "never started, belongs to no control-plane machine"},
		"a voter of no machine":      {func(s *State) { s.Members = append(s.Members, Member{ID: 4, Name: "by-hand"}) }, `the etcd member "by-hand" belongs to no control-plane machine`},
		"two voters on the machine": {func(s *State) {
			s.Members = append(s.Members, Member{ID: 4, Name: "cp2-b", Machine: "cp2", Cluster: 7, Leader: 1, Term: 4, Applied: 5000})
		}, "2 of 4 voters would be left, and etcd needs 3"},
		"two voters":             {func(s *State) { s.Members = s.Members[:2] }, "1 of 2 voters would be left, and etcd needs 2"},
		"one voter":              {func(s *State) { s.Members = s.Members[1:2] }, ""},
		"one voter and learners": {func(s *State) { s.Members[0].Learner, s.Members[2].Learner = true, true }, ""},
		"it does not vote":       {func(s *State) { s.Members[1].Learner, s.Members[2].Unknown = true, "no route" }, ""},
		"the members are unknown": {func(s *State) { *s = State{Unknown: "no route to host"} },
			"the members of etcd are unknown: no route to host"},
		"no member": {func(s *State) { *s = State{} }, "the members of etcd are unknown: none was listed"},
	} {
		s := three()
		c.change(&s)
		err := s.CanStop("cp2")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if e := new(Error); err != nil && (!errors.As(err, &e) || e.Machine != "cp2") {
			t.Errorf("%s: got %#v, want an Error of cp2", name, err)
		}
	}
}

// drawState draws members on up to five machines, each with its faults.
func drawState(t *rapid.T) State {
	var s State
	for i := range rapid.IntRange(1, 7).Draw(t, "members") {
		machine := fmt.Sprintf("cp%d", rapid.IntRange(0, 5).Draw(t, "machine"))
		m := Member{ID: uint64(i + 1), Name: fmt.Sprintf("m%d", i), Machine: machine, Cluster: 7, Leader: 1, Term: 4, Index: 5000, Applied: 5000}
		m.Learner = rapid.IntRange(0, 9).Draw(t, "learner") == 0
		switch rapid.IntRange(0, 20).Draw(t, "fault") {
		case 0:
			m.Unknown = "no route"
		case 1:
			m.Unhealthy = "timeout"
		case 2:
			m.Leader = 2
		case 3:
			m.Term = 3
		case 4:
			m.Applied = 100
		case 5:
			m.Machine = ""
		}
		s.Members = append(s.Members, m)
	}
	return s
}

// agree reports whether two voters have nothing wrong, and follow one leader. A member agrees
// with itself if it has nothing wrong. What drawState draws has the newest entry 5000.
func agree(a, b Member) bool {
	fine := func(m Member) bool {
		return m.Machine != "" && m.Unknown == "" && m.Unhealthy == "" && m.Leader != 0 && m.Applied > 4000
	}
	return fine(a) && fine(b) && a.Cluster == b.Cluster && a.Leader == b.Leader && a.Term == b.Term
}

// A machine with a voter can stop only if more than half of all voters are left, each pair of
// them agrees, and no member is a learner.
func TestCanStopKeepsQuorum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		machine := fmt.Sprintf("cp%d", rapid.IntRange(0, 5).Draw(t, "without"))
		voters, others, learners := 0, []Member{}, 0
		for _, m := range s.Members {
			if m.Learner {
				learners++
				continue
			}
			voters++
			if m.Machine != machine {
				others = append(others, m)
			}
		}
		quorum := learners == 0 && 2*len(others) > voters
		for _, a := range others {
			for _, b := range others {
				quorum = quorum && agree(a, b)
			}
		}
		want := len(others) == voters || len(others) == 0 || quorum // no voter here, or none elsewhere
		if err := s.CanStop(machine); (err == nil) != want {
			t.Fatalf("%s of %+v: got %v, want that it can stop: %v", machine, s.Members, err, want)
		}
	})
}

// A lost machine is removed only while the rest has a quorum, so that 2 lost of 5 can be
// removed one after the other.
func TestCanRemoveKeepsQuorum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 7).Draw(t, "voters")
		lost := rapid.IntRange(1, n).Draw(t, "lost")
		var s State
		for i := range n {
			m := Member{ID: uint64(i + 1), Name: "x", Machine: fmt.Sprintf("cp%d", i), Leader: 9, Term: 1}
			if i < lost {
				m.Unknown = "no route"
			}
			s.Members = append(s.Members, m)
		}
		s.Members = rapid.Permutation(s.Members).Draw(t, "order")
		want := n-lost >= (n-1)/2+1
		if err := s.CanRemove("cp0"); (err == nil) != want {
			t.Fatalf("%d of %d are lost: got %v, want that one can be removed: %v", lost, n, err, want)
		}
	})
}

func TestSettledAndServes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change          func(s *State)
		settled, serves bool // serves is of cp2
	}{
		"all healthy":            {func(*State) {}, true, true},
		"another is unknown":     {func(s *State) { s.Members[2].Unknown = "x" }, false, true},
		"another follows itself": {func(s *State) { s.Members[2].Leader = 3 }, false, true},
		"it is behind":           {func(s *State) { s.Members[1].Applied = 1 }, false, false},
		"it has no leader":       {func(s *State) { s.Members[1].Leader = 0 }, false, false},
		"it is a learner":        {func(s *State) { s.Members[1].Learner = true }, false, false},
		"it is no member":        {func(s *State) { s.Members = slices.Delete(s.Members, 1, 2) }, true, false},
		"unknown":                {func(s *State) { s.Unknown = "x" }, false, false},
		"no member":              {func(s *State) { s.Members = nil }, false, false},
	} {
		s := three()
		c.change(&s)
		if err := s.Settled(); (err == nil) != c.settled {
			t.Errorf("%s: got settled %v, want %v", name, err, c.settled)
		}
		if err := s.Serves("cp2"); (err == nil) != c.serves {
			t.Errorf("%s: got serves %v, want %v", name, err, c.serves)
		}
	}
	if err := three().Serves(""); err == nil {
		t.Error("the etcd of no machine serves")
	}
}
