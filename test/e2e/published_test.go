//go:build e2e

package e2e

import "encoding/json"

// wantPublished wants the report of an operation in the cluster, with a line for each
// of these jobs. A job that prints all the time has pauses in its output.
func (o *operator) wantPublished(operation string, printing string, others ...string) {
	o.t.Helper()
	out := o.kubectl("get configmaps -n pai-system -l pai.dev/operation=" + operation + ` -o jsonpath='{.items[*].data.report\.json}'`)
	var report struct {
		ID, By, Error string
		PerJob        []struct {
			Job                               string
			ContainersBefore, ContainersAfter int
			Machines, Steps                   []string
			Output                            *struct{ LongestPauseSeconds, UsualPauseSeconds, ObservedSeconds float64 }
			OutputUnobserved                  string
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		o.t.Errorf("read the published report of operation %s: %v\n%s", operation, err, out)
		return
	}
	if report.ID != operation || report.By != "" || report.Error != "" || len(report.PerJob) != 1+len(others) {
		o.t.Errorf("the published report of operation %s:\n%s", operation, out)
	}
	for _, l := range report.PerJob {
		after := l.ContainersBefore
		if l.Job == "admin~"+failingJob {
			after = 0
		}
		if l.ContainersBefore == 0 || l.ContainersAfter != after || len(l.Machines) == 0 || len(l.Steps) == 0 {
			o.t.Errorf("the line of a job: %+v", l)
		}
		p := l.Output
		if l.Job == printing && (p == nil || l.OutputUnobserved != "" || p.UsualPauseSeconds <= 0 || p.LongestPauseSeconds <= 0 || p.LongestPauseSeconds >= p.ObservedSeconds) {
			o.t.Errorf("the pauses in the output of job %s: %+v", l.Job, l)
		}
	}
	o.t.Logf("the lines of the jobs: %+v", report.PerJob)
}
