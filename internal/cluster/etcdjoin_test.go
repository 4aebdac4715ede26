package cluster

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Two machines join as learners, and get their votes together.
func TestEtcdGrowsToThree(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", "pai-1")
	for _, c := range []struct {
		kind    plan.Kind
		target  string
		members string
	}{
		{plan.KindEtcd, "pai-1", "pai-1-a"},
		{plan.KindEtcd, "pai-2", "pai-1-a pai-2-a*"},
		{plan.KindEtcd, "pai-3", "pai-1-a pai-2-a* pai-3-a*"},
		{plan.KindEtcd, "pai-2", "pai-1-a pai-2-a* pai-3-a*"},
		{plan.KindVoters, "", "pai-1-a pai-2-a pai-3-a"},
		{plan.KindEtcd, "pai-3", "pai-1-a pai-2-a pai-3-a"},
		{plan.KindVoters, "", "pai-1-a pai-2-a pai-3-a"},
	} {
		if done, err := e.step(c.kind, c.target); err != nil || !done {
			t.Fatalf("%s %s: got done %v, %v", c.kind, c.target, done, err)
		}
		if got := e.members(); got != c.members {
			t.Errorf("%s %s: got members %s, want %s", c.kind, c.target, got, c.members)
		}
	}
	if e.second || len(e.server.Removed) > 0 {
		t.Errorf("a second cluster %v, removed %v", e.second, e.server.Removed)
	}
}

// With learners on one of two machines, none gets a vote: two voters tolerate nothing.
func TestNoVoteBeforeAllHaveJoined(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", "pai-1")
	if done, err := e.step(plan.KindEtcd, "pai-2"); err != nil || !done {
		t.Fatalf("got done %v, %v", done, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := Doers(e.deps())[plan.KindVoters].Do(ctx, plan.Step{Kind: plan.KindVoters}); err == nil || !strings.Contains(err.Error(), "pai-3 has not joined") {
		t.Errorf("got %v, want that pai-3 has not joined", err)
	}
	if got := e.members(); got != "pai-1-a pai-2-a*" {
		t.Errorf("got members %s", got)
	}
}

// A machine continues to join from whatever a killed run left. Data of a member that was
// removed are kept, and never used.
func TestEtcdJoinContinues(t *testing.T) {
	t.Parallel()
	a := layout.SlotA
	for name, c := range map[string]struct {
		before  func(e *severalEtcds)
		kept    bool // old data
		removed int  // members
	}{
		"nothing is there":               {func(*severalEtcds) {}, false, 0},
		"it was added and never started": {func(e *severalEtcds) { e.learner(9, "", "pai-2", a) }, false, 0},
		"it was added, with the file of members": {func(e *severalEtcds) {
			e.learner(9, "", "pai-2", a)
			e.machines["pai-2"].Write(a.EtcdEnv(), membership(stateExisting, "x=y"))
		}, false, 0},
		"it started without the file of members": {func(e *severalEtcds) { e.learner(9, "", "pai-2", a); e.serve("pai-2", a, "v0.11-pai") }, false, 0},
		"it serves": {func(e *severalEtcds) {
			e.learner(9, "pai-2-a", "pai-2", a)
			e.data("pai-2", a, 9)
			e.serve("pai-2", a, "v0.11-pai")
		}, false, 0},
		"it was stopped":                           {func(e *severalEtcds) { e.learner(9, "pai-2-a", "pai-2", a); e.data("pai-2", a, 9) }, false, 0},
		"its disk is lost":                         {func(e *severalEtcds) { e.learner(9, "pai-2-a", "pai-2", a) }, false, 1},
		"data of a removed member":                 {func(e *severalEtcds) { e.data("pai-2", a, 77) }, true, 0},
		"data of a removed member in slot b":       {func(e *severalEtcds) { e.data("pai-2", layout.SlotB, 77) }, true, 0},
		"data of a removed member, added again":    {func(e *severalEtcds) { e.data("pai-2", a, 77); e.learner(9, "", "pai-2", a) }, true, 1},
		"another machine was added, never started": {func(e *severalEtcds) { e.learner(8, "", "pai-3", a) }, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", "pai-1")
			c.before(e)
			if done, err := e.step(plan.KindEtcd, "pai-2"); err != nil || !done {
				t.Fatalf("got done %v, %v", done, err)
			}
			if got := strings.Replace(e.members(), " ?*", "", 1); got != "pai-1-a pai-2-a*" || len(e.server.Removed) != c.removed || e.second {
				t.Errorf("got members %s, removed %v, a removed one started: %v", got, e.server.Removed, e.second)
			}
			kept := false
			for _, s := range layout.Slots() {
				data, err := os.ReadFile(e.machines["pai-2"].At(s.EtcdData() + ".former-1/member/wal/0.wal"))
				kept = kept || err == nil && string(data) == "77"
			}
			if kept != c.kept {
				t.Errorf("kept old data: %v, want %v", kept, c.kept)
			}
		})
	}
}

// A machine that joins at the same time changes the members that another one starts with.
func TestEtcdJoinFollowsTheMembers(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", "pai-1")
	m := e.machines["pai-2"]
	// It starts before it knows of pai-3, and crashes until its file has pai-3.
	e.learner(9, "", "pai-2", layout.SlotA)
	e.serve("pai-2", layout.SlotA, "v0.11-pai")
	e.learner(8, "", "pai-3", layout.SlotA)
	go func() { // what systemd does
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			if t.Context().Err() != nil {
				return
			}
			if env, _ := os.ReadFile(m.At(layout.SlotA.EtcdEnv())); strings.Contains(string(env), "10.9.0.13") {
				e.start(m, layout.SlotA)
				return
			}
		}
	}()
	if done, err := e.step(plan.KindEtcd, "pai-2"); err != nil || !done {
		t.Fatalf("got done %v, %v", done, err)
	}
}

// A learner that does not serve in time is removed again, so that it blocks no other one.
func TestEtcdThatDoesNotServeIsRemoved(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.10-pai", "v0.11-pai", "pai-1")
	e.broken = true
	c := Doers(e.deps())[plan.KindVoters].(doer).cluster
	m := e.machines["pai-2"]
	others := c.etcdElsewhere(t.Context(), m.Machine)
	defer others.close()
	client, err := c.etcds.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = etcdJoin{c, client, others, m, m.Machine, "v0.11-pai", time.Second}.run(t.Context())
	details := ""
	if err != nil {
		details = pai.DetailsOf(err)
	}
	if err == nil || !strings.Contains(err.Error(), "its member was removed again") || !strings.Contains(details, "the last words") {
		t.Errorf("got %v with the details %q, want that it was removed, and its journal", err, details)
	}
	if got := e.members(); got != "pai-1-a" || len(e.server.Removed) != 1 {
		t.Errorf("got members %s, removed %v", got, e.server.Removed)
	}
	e.broken = false
	if done, err := e.step(plan.KindEtcd, "pai-2"); err != nil || !done {
		t.Errorf("the next attempt: got done %v, %v", done, err)
	}
}
