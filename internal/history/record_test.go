package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// What is recorded comes back, and what Kubernetes deletes meanwhile stays.
func TestRecord(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		running := some("u1", "ada", "train")
		put(t, s, Record{Status: running, Protocol: []byte("name: train\n"), Notes: []Note{{Event, "e1", start, []byte(`{"n":1}`)}, {Operation, "o1", start, []byte(`{}`)}}})
		done := ended(some("u1", "ada", "train"), job.StateFailed, start.Add(3*time.Hour))
		done.TaskRoles[0].Tasks = []job.TaskStatus{{Index: 0, State: job.StateStopped}, {Index: 1, State: job.StateStopped}} // its pods are deleted
		put(t, s, Record{Status: done, Observed: start.Add(4 * time.Hour), Protocol: []byte("other"), Notes: []Note{{Event, "e1", start, []byte(`{"n":2}`)}, {Event, "e2", start.Add(time.Second), []byte(`{}`)}}})
		sum, status := found(t, s, "ada", "train")
		if sum.State != job.StateFailed || !sum.Ended.Equal(start.Add(3*time.Hour)) || sum.Tags[0] != "good run" || sum.Tasks != 2 {
			t.Errorf("got %+v", sum)
		}
		first, second := status.TaskRoles[0].Tasks[0], status.TaskRoles[0].Tasks[1]
		if first.ExitCode == nil || *first.ExitCode != 3 || first.State != job.StateFailed || second.Machine != "two" || second.State != job.StateStopped {
			t.Errorf("the tasks are %+v", status.TaskRoles)
		}
		if text, err := s.Protocol(t.Context(), "u1"); err != nil || string(text) != "name: train\n" {
			t.Errorf("the text is %q, %v", text, err)
		}
		notes, err := s.Notes(t.Context(), "u1", Event)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "events", fmt.Sprintf("%s %s %s", notes[0].ID, notes[0].Data, notes[1].ID), `e1 {"n":2} e2`)
		// Another server read the cluster earlier, and writes later.
		refused, err := s.Record(t.Context(), Record{Status: running, Observed: start.Add(time.Hour)}, Record{Status: done, Observed: start})
		if err != nil || fmt.Sprint(refused) != "[u1]" {
			t.Errorf("what is older than what is recorded: refused %q, %v", refused, err)
		}
		if sum, _ := found(t, s, "ada", "train"); sum.State != job.StateFailed {
			t.Errorf("an older state replaced the newer one: %+v", sum)
		}
		if _, err := s.Find(t.Context(), pai.JobRef{User: "ada", Name: "other"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Protocol(t.Context(), "u2"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// A name can be used again: the newest job has it, and the others stay in lists.
func TestNamesAreUsedAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		newer := some("a-new", "ada", "train")
		newer.Created = start.Add(time.Hour)
		put(t, s, Record{Status: newer}, Record{Status: some("z-old", "ada", "train")})
		if sum, _ := found(t, s, "ada", "train"); sum.UID != "a-new" {
			t.Errorf("got %s", sum.UID)
		}
		if page, total, err := s.List(t.Context(), Query{Limit: 5}, nil); err != nil || total != 2 || fmt.Sprint(uids(page)) != "[a-new z-old]" {
			t.Errorf("got %v, %d, %v", uids(page), total, err)
		}
	})
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		for n := range maxAttempts + 3 {
			try := some("u1", "ada", "train")
			try.Retries = n
			put(t, s, Record{Status: try})
		}
		newest := maxAttempts + 2
		earlier, err := s.Attempts(t.Context(), "u1", newest)
		if err != nil || len(earlier) != maxAttempts-1 || earlier[0].Retries != newest-1 {
			t.Fatalf("got %d attempts, %v", len(earlier), err)
		}
		if a := earlier[0]; a.State != job.StateFailed || a.TaskRoles[0].Tasks[1].State != job.StateStopped || a.TaskRoles[0].Tasks[0].Message == "" {
			t.Errorf("an earlier attempt is %+v", a)
		}
		if _, now := found(t, s, "ada", "train"); now.Retries != newest || now.State != job.StateUnknown || !now.Ended.IsZero() {
			t.Errorf("the newest is %+v", now)
		}
	})
}

// A job that left the cluster has ended. If no server saw how, that is unknown, between
// two times.
func TestJobsLeave(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		put(t, s, Record{Status: some("u1", "ada", "seen"), Protocol: []byte("x")}, Record{Status: ended(some("u2", "ada", "done"), job.StateSucceeded, start.Add(time.Hour))})
		held, err := s.Held(t.Context())
		if err != nil || len(held) != 2 {
			t.Fatalf("got %v, %v", held, err)
		}
		for _, h := range held {
			if h.HasText != (h.UID == "u1") || h.UID == "u1" && h.Digest != Digest(some("u1", "ada", "seen")) {
				t.Errorf("got %+v", h)
			}
		}
		at := start.Add(5 * time.Hour)
		for _, uid := range []string{"u1", "u2"} {
			if err := s.Leave(t.Context(), uid, time.Time{}, start.Add(time.Hour)); err != nil { // before it was last seen
				t.Fatal(err)
			}
		}
		if held, _ := s.Held(t.Context()); len(held) != 2 {
			t.Error("jobs left before they were last seen")
		}
		for _, uid := range []string{"u1", "u2"} {
			if err := s.Leave(t.Context(), uid, start.Add(4*time.Hour), at); err != nil {
				t.Fatal(err)
			}
		}
		sum, status := found(t, s, "ada", "seen")
		if sum.State != job.StateUnknown || !sum.Ended.Equal(at) || status.State != job.StateUnknown || !status.Ended.Equal(at) || status.TaskRoles[0].Tasks[1].State != job.StateUnknown {
			t.Errorf("got %+v, %+v", sum, status)
		}
		if want := "how it ended was not seen: it was last seen as RUNNING at 2023-11-15T02:13:20Z, and it was not in the cluster at 2023-11-15T03:13:20Z"; status.Message != want {
			t.Errorf("got %q, want %q", status.Message, want)
		}
		if sum, status := found(t, s, "ada", "done"); sum.State != job.StateSucceeded || !sum.Ended.Equal(start.Add(time.Hour)) || status.State != job.StateSucceeded {
			t.Errorf("got %+v, %+v", sum, status)
		}
		if err := s.ChangeTags(t.Context(), "u2", func(tags []string) (string, error) { return job.AddTag(tags, "kept") }); err != nil {
			t.Fatal(err)
		}
		if _, status := found(t, s, "ada", "done"); strings.Join(status.Tags, ",") != "good run,kept" {
			t.Errorf("the tags are %q", status.Tags)
		}
		refused := errors.New("refused")
		if err := s.ChangeTags(t.Context(), "u2", func([]string) (string, error) { return "", refused }); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		// A cluster that is restored has the job again.
		put(t, s, Record{Status: some("u1", "ada", "seen"), Observed: at.Add(time.Hour)})
		if held, _ := s.Held(t.Context()); len(held) != 1 {
			t.Errorf("got %v", held)
		}
	})
}

func TestPrune(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		for i := range 10 {
			put(t, s, Record{Status: ended(some(fmt.Sprint(i), "ada", fmt.Sprint(i)), job.StateSucceeded, start.Add(time.Duration(i)*time.Minute)),
				Protocol: []byte("x"), Notes: []Note{{Event, "e", start, []byte("{}")}}})
			if i > 1 { // the two oldest are still in the cluster
				if err := s.Leave(t.Context(), fmt.Sprint(i), time.Time{}, start.Add(3*time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n, err := s.Prune(t.Context(), 7, time.Time{}); err != nil || n != 3 {
			t.Errorf("deleted %d, %v", n, err)
		}
		page, _, err := s.List(t.Context(), Query{Limit: 20, Order: ByEnded}, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the jobs that stay", uids(page), []string{"0", "1", "5", "6", "7", "8", "9"})
		if _, err := s.Protocol(t.Context(), "2"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the text of a deleted job: %v", err)
		}
		if n, err := s.Prune(t.Context(), 7, start.Add(6*time.Minute)); err != nil || n != 2 { // jobs 5 and 6, and none of the cluster
			t.Errorf("deleted %d, %v", n, err)
		}
		if n, err := s.Prune(t.Context(), 0, time.Time{}); err != nil || n != 3 {
			t.Errorf("deleted %d, %v", n, err)
		}
	})
}

// What jobs and events say can be anything.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		const bad = "nul \x00, \xff, '; DROP TABLE jobs; --"
		j := some("u1", "ada", bad)
		j.Message, j.Tags, j.TaskRoles[0].Tasks[0].Message = bad, []string{bad}, strings.Repeat("long ", 1<<20)
		put(t, s, Record{Status: j, Protocol: []byte(bad), Notes: []Note{{Event, bad, start, []byte(`{"message":"\u0000"}`)}}})
		_, status := found(t, s, "ada", bad)
		if got := len(status.TaskRoles[0].Tasks[0].Message); got > maxMessage+10 {
			t.Errorf("a message has %d bytes", got)
		}
		if text, err := s.Protocol(t.Context(), "u1"); err != nil || string(text) != bad {
			t.Errorf("got %q, %v", text, err)
		}
		if page, total, err := s.List(t.Context(), Query{Keyword: bad, Tags: []string{bad}, Limit: 1}, nil); err != nil || total != 1 || len(page) != 1 {
			t.Errorf("got %v, %d, %v", page, total, err)
		}
		var notes []Note
		for i := range maxNotes + 5 {
			notes = append(notes, Note{Event, fmt.Sprint(i), start.Add(time.Duration(i) * time.Second), []byte("{}")})
		}
		put(t, s, Record{Status: j, Notes: notes})
		if kept, err := s.Notes(t.Context(), "u1", Event); err != nil || len(kept) != maxNotes || kept[maxNotes-1].ID != fmt.Sprint(maxNotes+4) {
			t.Errorf("kept %d notes, %v", len(kept), err)
		}
	})
}

// While a server is replaced, two have the database open.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		stores := []*Store{open(), open()}
		var group sync.WaitGroup
		for i, s := range stores {
			group.Go(func() {
				for n := range 40 {
					r := Record{Status: some(fmt.Sprintf("u%d", n), "ada", fmt.Sprint(n)), Observed: start.Add(time.Duration(i) * time.Second)}
					if _, err := s.Record(context.WithoutCancel(t.Context()), r); err != nil {
						t.Errorf("server %d: %v", i, err)
					}
				}
			})
		}
		group.Wait()
		if _, total, err := stores[0].List(t.Context(), Query{Limit: 1}, nil); err != nil || total != 40 {
			t.Errorf("got %d, %v", total, err)
		}
	})
}

// A job with many tasks and much to say has a bounded size, and so have its earlier
// attempts, which keep why they failed.
func TestSizeOfAJob(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		big := some("u1", "ada", "train")
		tasks := make([]job.TaskStatus, maxTasks+1)
		for i := range tasks {
			tasks[i] = job.TaskStatus{Index: i, State: job.StateStopped, Message: strings.Repeat("s", maxMessage)}
		}
		tasks[maxTasks-1].State, tasks[maxTasks-1].Message = job.StateFailed, "out of memory"
		big.TaskRoles[0].Tasks = tasks
		put(t, s, Record{Status: big})
		sizes, err := s.sizes(t.Context(), []Summary{{UID: "u1"}})
		if err != nil || sizes["u1"] > maxStatus || sizes["u1"] < maxEarlier {
			t.Errorf("the newest attempt has %d bytes, %v", sizes["u1"], err)
		}
		if _, now := found(t, s, "ada", "train"); len(now.TaskRoles[0].Tasks) != maxTasks || now.TaskRoles[0].Tasks[maxTasks-1].Message != "out of memory" {
			t.Errorf("the newest attempt has %d tasks, and lost why it failed", len(now.TaskRoles[0].Tasks))
		}
		next := some("u1", "ada", "train")
		next.Retries = 1
		put(t, s, Record{Status: next})
		earlier, err := s.Attempts(t.Context(), "u1", 1)
		if err != nil || len(earlier) != 1 {
			t.Fatal(earlier, err)
		}
		if kept := earlier[0].TaskRoles[0].Tasks; len(kept) != 1 || kept[0].Index != maxTasks-1 || kept[0].Message != "out of memory" {
			t.Errorf("an earlier attempt has %d tasks", len(kept))
		}
	})
	long := job.Status{TaskRoles: []job.TaskRoleStatus{{Tasks: make([]job.TaskStatus, maxTasks)}}}
	for i := range long.TaskRoles[0].Tasks {
		long.TaskRoles[0].Tasks[i] = job.TaskStatus{State: job.StateFailed, Machine: strings.Repeat("m", 1000)}
	}
	if text, err := encoded(long); err != nil || len(text) > maxStatus {
		t.Errorf("a status has %d bytes, %v", len(text), err)
	}
}
