//go:build scale

package main

import (
	"fmt"
	"slices"
	"strings"
)

// question is a request that people make, with other values each time.
type question struct {
	name  string
	token string // of an administrator if it is empty
	path  func(i int) string
	// alsoWithCluster: it is asked also when the cluster has jobs.
	alsoWithCluster bool
}

// portalPage is the page of the portal: 50 jobs and how many there are.
const portalPage = "&limit=50&withTotalCount=true"

// questions are the lists with every filter and order, and what a page of a job reads.
func questions(jobs int) []question {
	list := func(name, format string, values ...func(i int) any) question {
		return question{name: name, path: func(i int) string {
			var args []any
			for _, v := range values {
				args = append(args, v(i))
			}
			return "/rest-server/api/v2/jobs?" + fmt.Sprintf(format, args...) + portalPage
		}}
	}
	user := func(i int) any { return userName(i % users) }
	vc := func(i int) any { return virtualClusters[i%len(virtualClusters)] }
	deep := func(i int) any { return jobs/2 + i*50 }
	part := func(i int) any { return fmt.Sprintf("_%04d", i*97%1000) }
	archived := "tagsNotContain=pai-archived"
	all := []question{
		list("first page", archived+"&offset=0"),
		list("second to last page", archived+"&offset=%d", func(i int) any { return jobs - 100 - i }),
		list("page in the middle", archived+"&offset=%d", deep),
		list("jobs of a user", archived+"&username=%s", user),
		list("jobs of a virtual cluster", archived+"&vc=%s", vc),
		list("state FAILED", archived+"&state=FAILED"),
		list("state STOPPED, page in the middle", archived+"&state=STOPPED&offset=%d", func(i int) any { return jobs/30 + i }),
		list("priority", archived+"&jobPriority=prod"),
		list("keyword in 100 names", archived+"&keyword=%s", part),
		list("keyword in no name", archived+"&keyword=nowhere%d", func(i int) any { return i }),
		list("one tag", archived+"&tagsContain=%s", func(i int) any { return tags[i%len(tags)] }),
		list("one tag that few jobs have", archived+"&tagsContain=paper"),
		list("all filters", archived+"&username=%s&vc=%s&state=FAILED,STOPPED&tagsContain=baseline,sweep&keyword=train", user, vc),
		list("how many there are", archived+"&limit=0"),
	}
	for _, field := range []string{"submissionTime,ASC", "completionTime,DESC", "jobName,ASC", "username,ASC", "vc,DESC", "state,ASC", "totalTaskNumber,DESC", "totalGpuNumber,DESC", "retries,DESC", "jobPriority,ASC"} {
		all = append(all, list("order "+strings.ToLower(strings.ReplaceAll(field, ",", " ")), archived+"&order="+field))
	}
	asUser := list("first page, of a user who sees all", archived)
	asUser.token = tokenOf(userName(0))
	filtered := list("one tag, of a user who sees all", archived+"&tagsContain=baseline")
	filtered.token = tokenOf(userName(1))
	path := func(name, format string, of func(i int) jobName) question {
		return question{name: name, path: func(i int) string { return fmt.Sprintf(format, of(i)) }}
	}
	fixed := func(name, path string) question { return question{name: name, path: func(int) string { return path }} }
	one := func(i int) jobName { return nameOf(i * 997 % jobs) }
	large := func(int) jobName { return largeJob }
	all = append(all, asUser, filtered,
		fixed("list of OpenPAI clients without a limit: 5,000 jobs", "/rest-server/api/v2/jobs"),
		fixed("list of paictl: 1,000 jobs with tasks", "/api/v2/jobs"),
		fixed("list of paictl: 20 jobs with tasks", "/api/v2/jobs?limit=20"),
		path("details of a job", "/rest-server/api/v2/jobs/%s", one),
		path("details of a job for paictl", "/api/v2/jobs/%s", one),
		path("job file", "/api/v2/jobs/%s/config", one),
		path("events of a job", "/rest-server/api/v2/jobs/%s/events", one),
		path("attempts of a job", "/rest-server/api/v2/jobs/%s/job-attempts", one),
		path("10 roles of 1,000 tasks: details", "/rest-server/api/v2/jobs/%s", large),
		path("10 roles of 1,000 tasks: details for paictl", "/api/v2/jobs/%s", large),
		path("1,000 tasks in 10 attempts: all attempts", "/rest-server/api/v2/jobs/%s/job-attempts", func(int) jobName { return retriedJob }),
	)
	for i, q := range all {
		all[i].alsoWithCluster = slices.Contains(withCluster, q.name)
	}
	return all
}

// withCluster are the questions that are asked also when the cluster has jobs.
var withCluster = []string{"first page", "page in the middle", "jobs of a user", "keyword in no name", "how many there are", "order completiontime desc",
	"list of paictl: 20 jobs with tasks", "details of a job"}
