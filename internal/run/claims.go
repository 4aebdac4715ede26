package run

import (
	"slices"
	"sync"

	"pai.dev/pai/internal/pai"
)

// claims are the jobs that the steps in progress can affect, as they were
// observed right before each step: a job can have started after the plan was
// made. A step claims all of its jobs at once or none, so no two steps wait for
// each other.
type claims struct {
	mu      sync.Mutex
	claimed []pai.JobRef
	freed   chan struct{} // closed when jobs are released; nil if no step waits
}

// take claims jobs. If another step has one of them, it claims none and returns
// a channel that is closed when jobs are released.
func (c *claims) take(jobs []pai.JobRef) (wait <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(jobs, func(j pai.JobRef) bool { return slices.Contains(c.claimed, j) }) {
		if c.freed == nil {
			c.freed = make(chan struct{})
		}
		return c.freed
	}
	c.claimed = append(c.claimed, jobs...)
	return nil
}

// release releases the jobs of a step.
func (c *claims) release(jobs []pai.JobRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed = slices.DeleteFunc(c.claimed, func(j pai.JobRef) bool { return slices.Contains(jobs, j) })
	if c.freed != nil {
		close(c.freed)
		c.freed = nil
	}
}
