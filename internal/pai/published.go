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
	// Omitted is how many entries of a list were left out because the report would be
	// too large, by the name of the list.
	Omitted map[string]int `json:"omitted,omitempty"`
}

// Published returns what users can read about an operation.
func (o Operation) Published() PublishedReport {
	return PublishedReport{ID: o.ID, Verb: o.Verb, From: o.From, To: o.To, Started: o.Started, Ended: o.Ended, Outcome: o.Outcome, Report: o.Report}
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
