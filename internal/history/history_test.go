package history

import (
	"fmt"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// onEach runs a test on a new database of each kind. again opens it, each time again.
func onEach(t *testing.T, test func(t *testing.T, again func() (*Store, error))) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		test(t, func() (*Store, error) { return OpenSQLite(t.Context(), dir, 1<<30) })
	})
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		connection := newDatabase(t)
		test(t, func() (*Store, error) { return openPostgreSQL(t, connection) })
	})
}

// onBoth is onEach for databases that open, and are closed after the test.
func onBoth(t *testing.T, test func(t *testing.T, open func() *Store)) {
	t.Helper()
	onEach(t, func(t *testing.T, again func() (*Store, error)) {
		test(t, func() *Store {
			t.Helper()
			s, err := again()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		})
	})
}

var start = time.Unix(1.7e9, 0).UTC()

// some returns a job with two tasks; the first failed.
func some(uid, user, name string) job.Status {
	return job.Status{
		UID: uid, JobRef: pai.JobRef{User: user, Name: name, VirtualCluster: "default"}, State: job.StateRunning,
		Created: start, Started: start.Add(time.Minute), Tags: []string{"good run"}, Namespace: "pai-vc-default", Object: user + "-" + name,
		TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{
			{Index: 0, State: job.StateFailed, Pod: "p0", Machine: "one", ExitCode: new(3), Ended: start.Add(time.Hour), Message: "ended with exit code 3"},
			{Index: 1, State: job.StateRunning, Pod: "p1", Machine: "two", Started: start.Add(time.Minute)},
		}}},
	}
}

func ended(s job.Status, state job.State, at time.Time) job.Status {
	s.State, s.Ended = state, at
	return s
}

func put(t testing.TB, s *Store, records ...Record) {
	t.Helper()
	for i := range records {
		if records[i].Observed.IsZero() {
			records[i].Observed = start.Add(2 * time.Hour)
		}
	}
	if _, err := s.Record(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}

func found(t *testing.T, s *Store, user, name string) (Summary, job.Status) {
	t.Helper()
	sum, err := s.Find(t.Context(), pai.JobRef{User: user, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.Status(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	return sum, status
}

func uids(jobs []Summary) (all []string) {
	for _, j := range jobs {
		all = append(all, j.UID)
	}
	return all
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}
