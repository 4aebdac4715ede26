// Package quorum decides, from what was observed of the members of etcd, whether the
// control plane can be without one of its machines. The rule is pure. paictl asks it
// with what the machines report to it (package etcd), and a machine asks it with what it
// sees itself (Local), right before it stops its etcd.
package quorum

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxLag is how many entries of the log a member can be behind. One that is further
// behind would need too long to take over.
const MaxLag = 1000

// State is what was observed of the members of one etcd.
type State struct {
	// Unknown is why the members are unknown; empty if Members has all of them.
	Unknown string
	Members []Member
}

// Member is one member of etcd with what it reports about itself.
type Member struct {
	ID      uint64
	Name    string // empty if it never started
	Machine string // empty if it belongs to no control-plane machine
	Learner bool   // it does not vote
	// Unknown is why the rest was not observed; empty if it was.
	Unknown string

	Unhealthy string // why it serves no request that needs a quorum, or its alarms; empty if it is healthy
	Cluster   uint64 // the ID of its cluster
	Leader    uint64 // the ID of the member that it follows; 0 if it knows none
	Term      uint64 // of that leader
	Index     uint64 // of the last entry of its log
	Applied   uint64 // of the last entry in its data
}

// title is how errors name a member.
func (m Member) title() string {
	switch {
	case m.Machine != "":
		return "etcd on " + m.Machine
	case m.Name != "":
		return fmt.Sprintf("the etcd member %q", m.Name)
	default:
		return fmt.Sprintf("the etcd member %x, which never started,", m.ID)
	}
}

// Error lists why the control plane cannot be without a machine.
type Error struct {
	Machine string
	Reasons []string // each names its machine
}

func (e *Error) Error() string {
	return fmt.Sprintf("the control plane cannot be without %s: %s", e.Machine, strings.Join(e.Reasons, "; "))
}

// CanStop returns nil if the etcd on a machine can stop, and otherwise an *Error. All
// other voters must be healthy, follow one leader, and be close to it, no change of the
// members can be unfinished, and the others must have a quorum. What was not observed
// counts as unhealthy. A cluster with voters on one machine alone, two of them in a handover,
// has no quorum to keep, and a machine without a voter does not count for it.
func (s State) CanStop(machine string) error {
	e := &Error{Machine: machine}
	if s.Unknown != "" || len(s.Members) == 0 {
		e.add("the members of etcd are unknown: %s", cmp.Or(s.Unknown, "none was listed"))
		return e
	}
	voters := s.voters()
	others := slices.DeleteFunc(slices.Clone(voters), func(m Member) bool { return m.Machine == machine })
	if len(others) == 0 || len(others) == len(voters) {
		return nil
	}
	e.addMembers(others)
	for _, m := range s.Members {
		if m.Learner {
			e.add("%s does not vote yet: a change of the members is unfinished", m.title())
		}
	}
	e.addLag(s.newest(), others)
	if left, need := len(others), len(voters)/2+1; left < need {
		e.add("%d of %d voters would be left, and etcd needs %d", left, len(voters), need)
	}
	return e.orNil()
}

// CanRemove returns nil if the member of a machine that is lost can be removed: the
// healthy voters of the others must be a quorum of what is left. Otherwise it returns an
// *Error. Other lost members can be left, which are removed next. The machine can have left the
// configuration: then the name of the member says whose it is.
func (s State) CanRemove(machine string) error {
	e := &Error{Machine: machine}
	if s.Unknown != "" || len(s.Members) == 0 {
		e.add("the members of etcd are unknown: %s", cmp.Or(s.Unknown, "none was listed"))
		return e
	}
	others := slices.DeleteFunc(s.voters(), func(m Member) bool { return m.Machine == machine || machineOf(m.Name) == machine })
	healthy := 0
	for _, m := range others {
		problem := &Error{}
		problem.addMember(m)
		if len(problem.Reasons) == 0 {
			healthy++
		}
		e.Reasons = append(e.Reasons, problem.Reasons...)
	}
	if need := len(others)/2 + 1; healthy < need {
		e.add("%d of the %d voters that would be left are healthy, and etcd needs %d", healthy, len(others), need)
		return e
	}
	return nil
}

// Serves returns nil if the voter of a machine is healthy and close to the others, and
// otherwise an error with the reasons.
func (s State) Serves(machine string) error {
	if s.Unknown != "" {
		return fmt.Errorf("the members of etcd are unknown: %s", s.Unknown)
	}
	own := slices.DeleteFunc(s.voters(), func(m Member) bool { return m.Machine != machine || machine == "" })
	e := &Error{}
	if len(own) == 0 {
		e.add("%q has no voter", machine)
	}
	e.addMembers(own)
	e.addLag(s.newest(), own)
	if len(e.Reasons) > 0 {
		return fmt.Errorf("etcd does not serve yet: %s", strings.Join(e.Reasons, "; "))
	}
	return nil
}

// Settled returns nil if every member votes and is healthy, and all of them follow one
// leader and have applied nearly the same. Otherwise it returns an error with the reasons.
func (s State) Settled() error {
	e := &Error{}
	if s.Unknown != "" || len(s.Members) == 0 {
		return fmt.Errorf("the members of etcd are unknown: %s", cmp.Or(s.Unknown, "none was listed"))
	}
	for _, m := range s.Members {
		if m.Learner {
			e.add("%s does not vote", m.title())
		}
	}
	e.addMembers(s.voters())
	e.addLag(s.newest(), s.voters())
	if len(e.Reasons) > 0 {
		return fmt.Errorf("etcd has not settled: %s", strings.Join(e.Reasons, "; "))
	}
	return nil
}

func (s State) voters() []Member {
	return slices.DeleteFunc(slices.Clone(s.Members), func(m Member) bool { return m.Learner })
}

// newest is the last entry of the log that any member has.
func (s State) newest() (index uint64) {
	for _, m := range s.Members {
		index = max(index, m.Index)
	}
	return index
}

func (e *Error) add(format string, args ...any) {
	e.Reasons = append(e.Reasons, fmt.Sprintf(format, args...))
}

func (e *Error) orNil() error {
	if len(e.Reasons) == 0 {
		return nil
	}
	return e
}

// addMembers adds what is wrong with voters, and where they disagree.
func (e *Error) addMembers(voters []Member) {
	var first *Member // of those that know a leader
	for _, m := range voters {
		if !e.addMember(m) {
			continue
		}
		if first == nil {
			first = &m
			continue
		}
		switch {
		case m.Cluster != first.Cluster:
			e.add("%s and %s are of different clusters", first.title(), m.title())
		case m.Leader != first.Leader || m.Term != first.Term:
			e.add("%s and %s follow different leaders", first.title(), m.title())
		}
	}
}

// addMember adds what is wrong with one voter, and reports whether nothing is.
func (e *Error) addMember(m Member) bool {
	before := len(e.Reasons)
	switch {
	case m.Machine == "":
		e.add("%s belongs to no control-plane machine", m.title())
	case m.Unknown != "":
		e.add("%s is unknown: %s", m.title(), m.Unknown)
	case m.Unhealthy != "":
		e.add("%s is not healthy: %s", m.title(), m.Unhealthy)
	case m.Leader == 0:
		e.add("%s has no leader", m.title())
	}
	return len(e.Reasons) == before
}

// addLag adds the members that were observed and are too far behind.
func (e *Error) addLag(newest uint64, voters []Member) {
	for _, m := range voters {
		if m.Unknown == "" && m.Applied+MaxLag <= newest {
			e.add("%s is %d entries of the log behind", m.title(), newest-m.Applied)
		}
	}
}
