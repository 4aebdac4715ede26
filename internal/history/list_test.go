package history

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

var (
	someUsers    = []string{"ada", "bob", "ada2", "Zoe"}
	someVCs      = []string{"default", "research"}
	someStates   = []job.State{job.StateSucceeded, job.StateFailed, job.StateStopped, job.StateRunning}
	somePriority = []string{"", "prod", "test"}
	someTags     = []string{"a", "ab", "b c", "ü"}
)

func manyJobs(n int) []job.Status {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same jobs each time
	one := func(list []string) string { return list[r.IntN(len(list))] }
	jobs := make([]job.Status, n)
	for i := range jobs {
		s := job.Status{
			UID: fmt.Sprintf("uid-%05d", i), State: someStates[r.IntN(len(someStates))], Priority: one(somePriority),
			JobRef:  pai.JobRef{User: one(someUsers), Name: fmt.Sprintf("train_%d", r.IntN(n)), VirtualCluster: one(someVCs)},
			Created: start.Add(time.Duration(r.IntN(n/2)) * time.Second), Retries: r.IntN(3), GPUs: r.IntN(4),
			TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: make([]job.TaskStatus, 1+r.IntN(3))}},
		}
		if s.State.Ended() {
			s.Ended = s.Created.Add(time.Duration(r.IntN(1000)) * time.Second)
		}
		for _, t := range someTags {
			if r.IntN(4) == 0 {
				s.Tags = append(s.Tags, t)
			}
		}
		jobs[i] = s
	}
	return jobs
}

func someOf[T any](t *rapid.T, name string, list []T) []T {
	if rapid.Bool().Draw(t, "any "+name) {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(list), 0, 3).Draw(t, name)
}

// A page over cluster and history is that of a list in memory, for every query: what the
// cluster has counts once, and as the cluster has it.
func TestListOfBoth(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		const n = 120
		jobs := manyJobs(n)
		for _, j := range jobs {
			put(t, s, Record{Status: j})
		}
		rapid.Check(t, func(rt *rapid.T) {
			var states []string
			for _, st := range someOf(rt, "states", someStates) {
				states = append(states, string(st))
			}
			q := Query{
				Users: someOf(rt, "users", someUsers), VirtualClusters: someOf(rt, "vcs", someVCs), States: states,
				Priorities: someOf(rt, "priorities", []string{"default", "prod"}), Tags: someOf(rt, "tags", someTags), NotTags: someOf(rt, "not tags", someTags),
				Keyword:    rapid.SampledFrom([]string{"", "", "ada", "_1", "A", "%", "7", "\xff\x00"}).Draw(rt, "keyword"),
				Order:      rapid.SampledFrom([]Field{Newest, ByName, ByUser, ByVC, ByState, ByPriority, ByRetries, ByTasks, ByGPUs, ByCreated, ByEnded, "x"}).Draw(rt, "order"),
				Descending: rapid.Bool().Draw(rt, "descending"), Offset: rapid.IntRange(0, n+2).Draw(rt, "offset"), Limit: rapid.IntRange(0, 30).Draw(rt, "limit"),
				Reader: rapid.SampledFrom([]string{"", "ada", "Zoe"}).Draw(rt, "reader"),
			}
			// A list of what the reader sees, for one who sees all.
			public, asSeen := q, func(s Summary) Summary {
				if q.Reader == "" || q.Reader == s.User {
					return s
				}
				return Summary{UID: s.UID, JobRef: s.JobRef, State: s.State, Created: s.Created, Started: s.Started, Ended: s.Ended}
			}
			public.Reader = ""
			all, living := []Summary{}, []Summary{}
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, n+20), 0, 40, rapid.ID).Draw(rt, "in the cluster") {
				j := manyJobs(n + 21)[i] // others than those that are recorded, with the same UIDs
				living = append(living, Summarize(j))
			}
			for _, j := range jobs {
				if !slices.ContainsFunc(living, func(l Summary) bool { return l.UID == j.UID }) {
					all = append(all, asSeen(Summarize(j)))
				}
			}
			for _, l := range living {
				all = append(all, asSeen(l))
			}
			want, wantTotal := public.Page(all)
			got, total, err := s.List(t.Context(), q, living)
			if err != nil {
				rt.Fatal(err)
			}
			if total != wantTotal || fmt.Sprint(uids(got)) != fmt.Sprint(uids(want)) {
				rt.Fatalf("%+v, with %v in the cluster: got %v of %d, want %v of %d", q, uids(living), uids(got), total, uids(want), wantTotal)
			}
			for _, s := range got {
				if !reflect.DeepEqual(s, asSeen(s)) {
					rt.Fatalf("%+v: %s sees %+v", q, q.Reader, s)
				}
			}
		})
		page, _, err := s.List(t.Context(), Query{Limit: n}, nil)
		if err != nil {
			t.Fatal(err)
		}
		statuses, err := s.Statuses(t.Context(), page, 1<<20)
		if err != nil || len(statuses) != n {
			t.Errorf("got %d statuses of %d, %v", len(statuses), n, err)
		}
		for i := range page {
			if got := Summarize(statuses[page[i].UID]); got.UID != page[i].UID || got.Retries != page[i].Retries {
				t.Errorf("got %+v, want %+v", got, page[i])
			}
		}
	})
}

// A list takes no more from the database than it has memory for: the first jobs.
func TestStatusesAreBounded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		jobs := []Summary{}
		for _, uid := range []string{"a", "b", "c"} {
			put(t, s, Record{Status: some(uid, "ada", uid)})
			jobs = append(jobs, Summary{UID: uid})
		}
		sizes, err := s.sizes(t.Context(), jobs)
		if err != nil || len(sizes) != 3 || sizes["a"] < 100 {
			t.Fatal(sizes, err)
		}
		statuses, err := s.Statuses(t.Context(), jobs, 2*sizes["a"]+1)
		if err != nil || len(statuses) != 2 || statuses["c"].UID != "" {
			t.Errorf("got %d statuses, %v", len(statuses), err)
		}
		if task := statuses["a"].TaskRoles[0].Tasks[0]; task.Message != "" || task.Machine != "one" {
			t.Errorf("in a list a task is %+v", task)
		}
	})
}
