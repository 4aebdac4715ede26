package pai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The report of each operation is published in a ConfigMap in SystemNamespace with
// the label LabelOperation, which has the ID of the operation.
const (
	LabelOperation = "pai.dev/operation"
	// ReportKey is the key of the report, a PublishedReport in JSON.
	ReportKey = "report.json"
	// MaxReport is the size of a published report in bytes. The API accepts twice that.
	MaxReport = 512 << 10
)

// ReportName is the name of the ConfigMap with the report of an operation.
func ReportName(operation string) string { return "report-" + strings.ToLower(operation) }

// PublishedReport is what users can read about an operation. It has nothing about
// machines but their names, and no error of a step.
type PublishedReport struct {
	ID      string    `json:"id"`
	Verb    Verb      `json:"verb"`
	From    Pair      `json:"from"`
	To      Pair      `json:"to"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Outcome Outcome   `json:"outcome"`
	Report
	// Restored is what a rollback or a restore did to the records of jobs; nil if it
	// restored nothing.
	Restored *PublishedRestore `json:"restored,omitempty"`
	// Omitted is how many entries of a list were left out because the report would be
	// too large, by the name of the list.
	Omitted map[string]int `json:"omitted,omitempty"`
}

// PublishedRestore is what users can read about a Restore.
type PublishedRestore struct {
	Taken time.Time     `json:"taken"` // when the restored snapshot was taken
	Jobs  []RestoredJob `json:"jobs"`
}

// Published returns what users can read about an operation.
func (o Operation) Published() PublishedReport {
	r := PublishedReport{ID: o.ID, Verb: o.Verb, From: o.From, To: o.To, Started: o.Started, Ended: o.Ended, Outcome: o.Outcome, Report: o.Report}
	if o.Restored != nil {
		r.Restored = o.Restored.published()
	}
	return r
}

// published leaves out the containers, and errors of machines.
func (r Restore) published() *PublishedRestore {
	p := &PublishedRestore{Taken: r.Taken, Jobs: []RestoredJob{}}
	for _, j := range r.Jobs {
		j.Ran = nil
		if j.RunsAgain != "" {
			j.RunsAgain = "PAI could not keep it from running again"
		}
		p.Jobs = append(p.Jobs, j)
	}
	return p
}

// Encode returns the report in JSON, with lists that are short enough for limit.
func (r PublishedReport) Encode(limit int) ([]byte, error) {
	data, err := json.Marshal(r)
	for n := r.longest() / 2; err == nil && len(data) > limit; n /= 2 {
		data, err = json.Marshal(r.shortened(n))
		if n == 0 {
			break
		}
	}
	if err == nil && len(data) > limit {
		err = fmt.Errorf("the report of operation %s has %d bytes without its lists, more than %d", r.ID, len(data), limit)
	}
	return data, err
}

// longest is the length of the longest list.
func (r PublishedReport) longest() int {
	n := max(len(r.Jobs.Failed), len(r.Jobs.Interrupted), len(r.Jobs.Unknown), len(r.PerJob))
	for _, l := range r.PerJob {
		n = max(n, len(l.Machines), len(l.Steps))
	}
	if r.Restored != nil {
		n = max(n, len(r.Restored.Jobs))
	}
	return n
}

// shortened returns the report with at most n entries in each list. Jobs that ended
// come before those that run.
func (r PublishedReport) shortened(n int) PublishedReport {
	r.Omitted = map[string]int{}
	for name, list := range map[string]*[]ContainerEnd{"jobs.failed": &r.Jobs.Failed, "jobs.interrupted": &r.Jobs.Interrupted, "jobs.unknown": &r.Jobs.Unknown} {
		*list = first(*list, n, name, r.Omitted)
	}
	lines := slices.Clone(r.PerJob)
	slices.SortStableFunc(lines, func(a, b JobLine) int {
		return (b.ContainersBefore - b.ContainersAfter) - (a.ContainersBefore - a.ContainersAfter)
	})
	r.PerJob = first(lines, n, "perJob", r.Omitted)
	for i := range r.PerJob {
		l := &r.PerJob[i]
		l.Machines = first(l.Machines, n, "machines", r.Omitted)
		l.Steps = first(l.Steps, n, "steps", r.Omitted)
	}
	if r.Restored != nil {
		r.Restored = &PublishedRestore{r.Restored.Taken, first(r.Restored.Jobs, n, "restored", r.Omitted)}
	}
	return r
}

// first returns the first n entries of a list and counts the others.
func first[E any](list []E, n int, name string, omitted map[string]int) []E {
	if len(list) <= n {
		return list
	}
	omitted[name] += len(list) - n
	return list[:n]
}
