package rest

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// maxAttempts is how many attempts a message lists.
const maxAttempts = 20

// taskAttempt is an attempt of a task whose pod the cluster still has.
func (c *Core) taskAttempt(ctx context.Context, id JobID, f found, attempt int) (job.TaskStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	attempts, err := reading(ctx, func(ctx context.Context) (map[int]job.TaskStatus, error) {
		pods, err := c.podsOfOne(ctx, f.set)
		if err != nil {
			return nil, apiErrorUnlessKnown("list the job's pods", err)
		}
		return job.TaskAttempts(pods, f.role, f.task.Index), nil
	})
	if err != nil {
		return job.TaskStatus{}, err
	}
	t, known := attempts[attempt]
	if !known {
		return t, pai.Errorf(pai.CodeNotFound, "", "task %s %d of job %s has no attempt %d in the cluster; %s", f.role, f.task.Index, id, attempt, listed(slices.Sorted(maps.Keys(attempts))))
	}
	return t, nil
}

// listed names attempts, the newest if there are many.
func listed(attempts []int) string {
	if len(attempts) == 0 {
		return "there are none"
	}
	intro := "there are: "
	if len(attempts) > maxAttempts {
		intro, attempts = "the newest are: ", attempts[len(attempts)-maxAttempts:]
	}
	names := make([]string, len(attempts))
	for i, n := range attempts {
		names[i] = strconv.Itoa(n)
	}
	return intro + strings.Join(names, ", ")
}
