package openpai

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"pai.dev/pai/internal/history"
)

// How many jobs a page of a list has without a limit in the query, and at most.
const (
	DefaultLimit = 5000
	MaxLimit     = 50000
)

// Query selects, orders, and pages a list of jobs.
type Query struct {
	history.Query
	count bool
}

// ParseQuery reads the parameters of a list of jobs. Parameters that OpenPAI does not
// know are ignored.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{count: v.Get("withTotalCount") == "true", Query: history.Query{
		Users: commaList(v.Get("username")), VirtualClusters: commaList(v.Get("vc")), States: commaList(v.Get("state")),
		Priorities: commaList(v.Get("jobPriority")), Tags: commaList(v.Get("tagsContain")), NotTags: commaList(v.Get("tagsNotContain")),
		Keyword: v.Get("keyword"), Limit: DefaultLimit,
	}}
	for name, into := range map[string]*int{"offset": &q.Offset, "limit": &q.Limit} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return q, fmt.Errorf("%s must be a whole number of at least 0", name)
		}
		*into = int(n)
	}
	if q.Limit > MaxLimit {
		return q, fmt.Errorf("limit must be at most %d", MaxLimit)
	}
	field, direction, _ := strings.Cut(v.Get("order"), ",")
	q.Order, q.Descending = orders[field], strings.EqualFold(direction, "DESC")
	return q, nil
}

func commaList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// orders are the fields that OpenPAI orders by. An unknown field is ignored: the newest
// job is first.
var orders = map[string]history.Field{
	"jobName": history.ByName, "username": history.ByUser, "vc": history.ByVC, "state": history.ByState, "jobPriority": history.ByPriority,
	"retries": history.ByRetries, "totalTaskNumber": history.ByTasks, "totalGpuNumber": history.ByGPUs,
	"submissionTime": history.ByCreated, "completionTime": history.ByEnded,
}

// Answer is what the server answers with a page.
func (q Query) Answer(jobs []history.Summary, total int, incomplete bool) any {
	page := make([]JobSummary, len(jobs))
	for i, j := range jobs {
		page[i] = Summary(j)
	}
	if q.count {
		return JobsWithCount{TotalCount: total, Data: page, Incomplete: incomplete}
	}
	return page
}
