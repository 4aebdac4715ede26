package rest

import (
	"context"
	"slices"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
)

// JobPage is a page of a list of jobs.
type JobPage struct {
	Jobs  []history.Summary
	Total int // of all pages
	// Incomplete is why jobs that left the cluster are missing; empty if none are.
	Incomplete string
}

// Page implements ClusterAPI.
func (c *Core) Page(ctx context.Context, q history.Query) (JobPage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	release, err := c.makeList(ctx)
	if err != nil {
		return JobPage{}, err
	}
	defer release()
	jobs, err := c.list(ctx, filterOf(q))
	if err != nil {
		return JobPage{}, err
	}
	page, total := q.Page(summaries(jobs))
	return JobPage{Jobs: page, Total: total}, nil
}

// filterOf selects at least what a query selects.
func filterOf(q history.Query) Filter {
	f := Filter{}
	if len(q.Users) == 1 && userPattern.MatchString(q.Users[0]) {
		f.User = q.Users[0]
	}
	return f
}

// query is what a filter selects, the newest first.
func (f Filter) query() history.Query {
	one := func(value string) []string {
		if value == "" {
			return nil
		}
		return []string{value}
	}
	return history.Query{Users: one(f.User), VirtualClusters: one(f.VirtualCluster), States: one(string(f.State)), Offset: f.Offset, Limit: f.Limit}
}

// page is a page of jobs that are in order, the oldest first.
func (f Filter) page(jobs []job.Status) []job.Status {
	if f.Limit == 0 {
		return jobs
	}
	end := max(0, len(jobs)-f.Offset)
	return jobs[max(0, end-f.Limit):end]
}

func summaries(jobs []job.Status) []history.Summary {
	all := make([]history.Summary, len(jobs))
	for i, s := range jobs {
		all[i] = history.Summarize(s)
	}
	return all
}

// visible is a query without the jobs that the caller must not see, and without what the
// caller must not see of others.
func (c *Core) visible(ctx context.Context, q history.Query) (history.Query, error) {
	caller, err := callerOf(ctx)
	if err == nil && c.policy.Authorize(caller, identity.Read, identity.Object{Kind: identity.Job}) != nil {
		q.Reader = caller.Name
	}
	if err != nil || c.policy.Authorize(caller, identity.List, identity.Object{Kind: identity.Job}) == nil {
		return q, err
	}
	if q.Users != nil && !slices.Contains(q.Users, caller.Name) {
		q.Users = []string{}
	} else {
		q.Users = []string{caller.Name}
	}
	return q, nil
}
