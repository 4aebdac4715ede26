package ui

import (
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

func TestRestoredNamesEveryJob(t *testing.T) {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	ran := []pai.RanContainer{{Machine: "gpu-01", ID: "1"}, {Machine: "gpu-01", ID: "2"}}
	r := pai.Restore{Snapshot: "s.db", Taken: at, Done: at, Jobs: []pai.RestoredJob{
		{Job: "ann~new", State: "RUNNING", Submitted: at, Record: pai.RecordLost, Containers: pai.ContainersDeleted, Ran: ran},
		{Job: "ann~orphan", State: "RUNNING", Record: pai.RecordLost, Containers: pai.ContainersOrphan, Ran: ran},
		{Job: "ann~queued", State: "WAITING", Record: pai.RecordLost, Containers: pai.ContainersNone},
		{Job: "ann~done", State: "SUCCEEDED", Ended: at, Record: pai.RecordKept, Containers: pai.ContainersEnded},
		{Job: "ann~removed", Record: pai.RecordRemoved, Containers: pai.ContainersEnded},
		{Job: "ann~retried", State: "RUNNING", Record: pai.RecordEarlier, Restored: "WAITING", Containers: pai.ContainersUnknown, Ran: ran},
		{Job: "ann~stopped", State: "STOPPED", Record: pai.RecordEarlier, Restored: "RUNNING", Containers: pai.ContainersEnded, RunsAgain: "its record has another form"},
		{Job: "ann~seen", State: "RUNNING", Record: pai.RecordSeen, SeenBy: "20261120", Containers: pai.ContainersUnknown},
	}}
	text := strings.Join(Restored(r), "\n")
	for _, want := range []string{
		"restored etcd from snapshot s.db, taken " + Time(at),
		"RECORD LOST   job ann~new, last state RUNNING, submitted " + Time(at) + ": submitted after the snapshot; 2 containers deleted",
		"RECORD LOST   job ann~orphan, last state RUNNING: submitted after the snapshot; CONTAINERS STILL RUN without a record, on gpu-01",
		"RECORD LOST   job ann~queued, last state WAITING: submitted after the snapshot\n",
		"record kept   job ann~done, last state SUCCEEDED, ended " + Time(at) + ": ended after the snapshot, does not run again; its containers ended before",
		"record removed job ann~removed: removed after the snapshot, does not run again",
		"RECORD EARLIER job ann~retried, last state RUNNING: again WAITING, as in the snapshot; containers unknown, on gpu-01",
		"CAN RUN AGAIN: its record has another form",
		"operation 20261120 saw it; containers unknown",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got no %q in:\n%s", want, text)
		}
	}
	r = pai.Restore{Snapshot: "s.db", Unknown: "etcd did not run"}
	if got := strings.Join(Restored(r), "\n"); !strings.Contains(got, "started to restore etcd from snapshot s.db\n") || !strings.Contains(got, "unknown which jobs were changed: etcd did not run") {
		t.Errorf("got %s", got)
	}
	for _, c := range []struct {
		r    pai.Restore
		want string
	}{
		{pai.Restore{Backup: true, TokensEnded: true}, "TOKENS        all have ended"},
		{pai.Restore{Backup: true}, "TOKENS        those that were revoked since might be valid again"},
		{pai.Restore{Unknown: "x"}, "TOKENS        those that were revoked since might be valid again"},
		{pai.Restore{}, ""},
	} {
		if got := strings.Join(Restored(c.r), "\n"); c.want != "" && !strings.Contains(got, c.want) || strings.Contains(got, "TOKENS") != (c.want != "") {
			t.Errorf("%+v: got %s, want %q", c.r, got, c.want)
		}
	}
	var b strings.Builder
	if err := Text(&b, func(p *Page) { report(p, pai.Operation{Verb: pai.VerbRollback, Restored: &r}) }); err != nil || !strings.Contains(b.String(), "  RECORDS       unknown") {
		t.Errorf("got %s, %v", b.String(), err)
	}
}
