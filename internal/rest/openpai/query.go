package openpai

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultLimit = 5000
	maxLimit     = 50000
)

// Query selects, orders, and pages a list of jobs.
type Query struct {
	users, virtualClusters, states, priorities []string
	tags, notTags                              []string
	keyword                                    string
	offset, limit                              int
	order                                      func(a, b JobSummary) int
	count                                      bool
}

// ParseQuery reads the parameters of a list of jobs. Parameters that OpenPAI does not
// know are ignored.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{
		users: commaList(v.Get("username")), virtualClusters: commaList(v.Get("vc")), states: commaList(v.Get("state")),
		priorities: commaList(v.Get("jobPriority")), tags: commaList(v.Get("tagsContain")), notTags: commaList(v.Get("tagsNotContain")),
		keyword: v.Get("keyword"), limit: defaultLimit, count: v.Get("withTotalCount") == "true",
	}
	for name, into := range map[string]*int{"offset": &q.offset, "limit": &q.limit} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, fmt.Errorf("%s must be a whole number of at least 0", name)
		}
		*into = n
	}
	if q.limit > maxLimit {
		return q, fmt.Errorf("limit must be at most %d", maxLimit)
	}
	field, direction, _ := strings.Cut(v.Get("order"), ",")
	q.order = ordering(field, strings.EqualFold(direction, "DESC"))
	return q, nil
}

func commaList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// OneUser is the only user of the query; empty if there is none, or several.
func (q Query) OneUser() string {
	if len(q.users) == 1 {
		return q.users[0]
	}
	return ""
}

// Apply returns the page of a list, and how many jobs the list has.
func (q Query) Apply(jobs []JobSummary) (page []JobSummary, total int) {
	selected := slices.DeleteFunc(slices.Clone(jobs), func(j JobSummary) bool { return !q.matches(j) })
	slices.SortStableFunc(selected, q.order)
	from := min(q.offset, len(selected))
	return append([]JobSummary{}, selected[from:min(from+q.limit, len(selected))]...), len(selected) // never null in JSON
}

// Answer is what the server answers with a page.
func (q Query) Answer(page []JobSummary, total int) any {
	if q.count {
		return JobsWithCount{TotalCount: total, Data: page}
	}
	return page
}

func (q Query) matches(j JobSummary) bool {
	in := func(list []string, value string) bool { return list == nil || slices.Contains(list, value) }
	has := func(list []string) bool {
		return slices.ContainsFunc(j.Tags, func(t string) bool { return slices.Contains(list, t) })
	}
	return in(q.users, j.Username) && in(q.virtualClusters, j.VirtualCluster) && in(q.states, string(j.State)) &&
		in(q.priorities, priority(j)) && (q.tags == nil || has(q.tags)) && !has(q.notTags) &&
		(q.keyword == "" || strings.Contains(j.Username, q.keyword) || strings.Contains(j.Name, q.keyword) || strings.Contains(j.VirtualCluster, q.keyword))
}

func priority(j JobSummary) string {
	if j.JobPriority == nil {
		return "default"
	}
	return *j.JobPriority
}

// ordering orders jobs by a field. A value that is not known is after all others when
// ascending. An unknown field is ignored: the newest job is first.
func ordering(field string, descending bool) func(a, b JobSummary) int {
	newest := func(a, b JobSummary) int {
		return cmp.Or(times(b.SubmissionTime, a.SubmissionTime), cmp.Compare(a.Username+"~"+a.Name, b.Username+"~"+b.Name))
	}
	by := map[string]func(a, b JobSummary) int{
		"jobName":         func(a, b JobSummary) int { return cmp.Compare(a.Name, b.Name) },
		"username":        func(a, b JobSummary) int { return cmp.Compare(a.Username, b.Username) },
		"vc":              func(a, b JobSummary) int { return cmp.Compare(a.VirtualCluster, b.VirtualCluster) },
		"state":           func(a, b JobSummary) int { return cmp.Compare(a.State, b.State) },
		"jobPriority":     func(a, b JobSummary) int { return cmp.Compare(priority(a), priority(b)) },
		"retries":         func(a, b JobSummary) int { return cmp.Compare(a.Retries, b.Retries) },
		"totalTaskNumber": func(a, b JobSummary) int { return cmp.Compare(a.TotalTaskNumber, b.TotalTaskNumber) },
		"totalGpuNumber":  func(a, b JobSummary) int { return cmp.Compare(a.TotalGPUNumber, b.TotalGPUNumber) },
		"submissionTime":  func(a, b JobSummary) int { return times(a.SubmissionTime, b.SubmissionTime) },
		"completionTime":  func(a, b JobSummary) int { return times(a.CompletedTime, b.CompletedTime) },
	}[field]
	if by == nil {
		return newest
	}
	return func(a, b JobSummary) int {
		order := by(a, b)
		if descending {
			order = -order
		}
		return cmp.Or(order, newest(a, b))
	}
}

func times(a, b *int64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}
