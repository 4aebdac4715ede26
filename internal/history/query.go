package history

import (
	"cmp"
	"slices"
	"strings"
)

// Field is what a list of jobs is ordered by.
type Field string

// The fields of an order. Any other value is Newest.
const (
	Newest     Field = "" // the newest job first, whatever the direction
	ByName     Field = "name"
	ByUser     Field = "user"
	ByVC       Field = "virtual cluster"
	ByState    Field = "state"
	ByPriority Field = "priority"
	ByRetries  Field = "retries"
	ByTasks    Field = "tasks"
	ByGPUs     Field = "gpus"
	ByCreated  Field = "created"
	ByEnded    Field = "ended"
)

// defaultPriority selects jobs that asked for no priority.
const defaultPriority = "default"

// Query selects, orders, and pages jobs. A list that is nil selects all.
type Query struct {
	Users, VirtualClusters, States, Priorities []string
	Tags, NotTags                              []string // any of them, none of them
	Keyword                                    string   // in the name of the job, its user, or its virtual cluster
	Order                                      Field
	Descending                                 bool
	Offset, Limit                              int
	// Reader is a user who sees of the jobs of others what is public, and selects and
	// orders by nothing else of them. Empty is one who sees all.
	Reader string
}

// seen returns a job as the reader sees it.
func (q Query) seen(s Summary) Summary {
	if q.Reader == "" || s.User == q.Reader {
		return s
	}
	return s.Public()
}

// Select returns the jobs that the query selects in its order, as its reader sees them,
// without its page.
func (q Query) Select(jobs []Summary) []Summary {
	selected := []Summary{}
	for _, s := range jobs {
		if s = q.seen(s); q.matches(s) {
			selected = append(selected, s)
		}
	}
	slices.SortFunc(selected, q.compare)
	return selected
}

func (q Query) matches(s Summary) bool {
	in := func(list []string, value string) bool { return list == nil || slices.Contains(list, value) }
	has := func(list []string) bool {
		return slices.ContainsFunc(s.Tags, func(t string) bool { return slices.Contains(list, t) })
	}
	return in(q.Users, s.User) && in(q.VirtualClusters, s.VirtualCluster) && in(q.States, string(s.State)) &&
		in(q.Priorities, cmp.Or(s.Priority, defaultPriority)) && (q.Tags == nil || has(q.Tags)) && !has(q.NotTags) &&
		(strings.Contains(s.User, q.Keyword) || strings.Contains(s.Name, q.Keyword) || strings.Contains(s.VirtualCluster, q.Keyword))
}

// compare orders jobs as the statements of a Store do.
func (q Query) compare(a, b Summary) int {
	by := q.compareField(a, b)
	if q.Descending {
		by = -by
	}
	return cmp.Or(by, cmp.Compare(toMillis(b.Created), toMillis(a.Created)), cmp.Compare(a.User, b.User), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
}

func (q Query) compareField(a, b Summary) int {
	switch q.Order {
	case ByName:
		return cmp.Compare(a.Name, b.Name)
	case ByUser:
		return cmp.Compare(a.User, b.User)
	case ByVC:
		return cmp.Compare(a.VirtualCluster, b.VirtualCluster)
	case ByState:
		return cmp.Compare(a.State, b.State)
	case ByPriority:
		return cmp.Compare(cmp.Or(a.Priority, defaultPriority), cmp.Or(b.Priority, defaultPriority))
	case ByRetries:
		return cmp.Compare(a.Retries, b.Retries)
	case ByTasks:
		return cmp.Compare(a.Tasks, b.Tasks)
	case ByGPUs:
		return cmp.Compare(a.GPUs, b.GPUs)
	case ByCreated:
		return cmp.Compare(toMillis(a.Created), toMillis(b.Created))
	case ByEnded:
		return cmp.Compare(toMillis(a.Ended), toMillis(b.Ended))
	default:
		return 0
	}
}

// page returns the page of a query from all jobs that it selects.
func (q Query) page(selected []Summary) []Summary {
	from := min(q.Offset, len(selected))
	return selected[from:min(from+q.Limit, len(selected))]
}

// Page selects, orders, and pages jobs that are all in memory, and counts those that it
// selects.
func (q Query) Page(jobs []Summary) (page []Summary, total int) {
	selected := q.Select(jobs)
	return q.page(selected), len(selected)
}
