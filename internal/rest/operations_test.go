package rest

import (
	"testing"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// A job has the operations during which it ran, with its own ended containers.
func TestOperationsOfAJob(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	s := job.Status{JobRef: pai.JobRef{User: "ann", Name: "train", VirtualCluster: "default"}, Created: created}
	of := func(name, vc string) pai.ContainerEnd { return pai.ContainerEnd{Job: name, VirtualCluster: vc} }
	published := func(started time.Time, lines ...pai.JobLine) pai.PublishedReport {
		op := pai.Operation{ID: "x", Verb: pai.VerbUpgrade, Started: started}
		op.PerJob = lines
		op.Jobs.Failed = []pai.ContainerEnd{of("ann~train", "default"), of("bob~train", "default"), of("ann~train", "research")}
		op.Jobs.Unknown = []pai.ContainerEnd{of("bob~train", "default")}
		return op.Published()
	}
	own := pai.JobLine{Job: "ann~train", VirtualCluster: "default", ContainersBefore: 2}
	for name, c := range map[string]struct {
		report pai.PublishedReport
		want   int
	}{
		"during the job":                {published(created.Add(time.Minute), pai.JobLine{Job: "bob~train", VirtualCluster: "default"}, own), 1},
		"before the job":                {published(created.Add(-time.Minute), own), 0},
		"of another job":                {published(created.Add(time.Minute), pai.JobLine{Job: "bob~train", VirtualCluster: "default"}), 0},
		"in another virtual cluster":    {published(created.Add(time.Minute), pai.JobLine{Job: "ann~train", VirtualCluster: "research"}), 0},
		"without running jobs whatever": {published(created.Add(time.Minute)), 0},
	} {
		got := operationsOf(s, c.report)
		if len(got) != c.want {
			t.Errorf("%s: got %+v, want %d", name, got, c.want)
			continue
		}
		if c.want > 0 && (got[0].ContainersBefore != 2 || len(got[0].Failed) != 1 || len(got[0].Unknown) != 0) {
			t.Errorf("%s: got %+v, want the line and the containers of the job", name, got[0])
		}
	}
}
