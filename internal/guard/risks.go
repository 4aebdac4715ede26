package guard

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Names of the risks that the operator can accept with --accept-risk.
const (
	// AcceptInterrupt: running jobs are interrupted.
	AcceptInterrupt = "interrupt-jobs"
	// AcceptLoss: writes since an etcd snapshot are lost.
	AcceptLoss = "lose-writes-since-snapshot"
	// AcceptStrand: queued jobs will not start.
	AcceptStrand       = "strand-jobs"
	acceptEvict        = "evict-jobs:"
	acceptLose         = "lose-machine:"
	acceptInterruptJob = "interrupt-job:"
)

// AcceptEvict returns the name of the risk that the jobs of a machine are ended.
func AcceptEvict(machine string) string { return acceptEvict + machine }

// AcceptLose returns the name of the risk that a machine is removed although it cannot be
// observed: what runs there is unknown, and stays there.
func AcceptLose(machine string) string { return acceptLose + machine }

// AcceptInterruptJob returns the name of the risk that one job is interrupted.
// The job is named USER~NAME.
func AcceptInterruptJob(job string) string { return acceptInterruptJob + job }

// AcceptsInterruption reports whether the operator accepted that a job is
// interrupted: that of all jobs, or of this one by name.
func AcceptsInterruption(accepted []string, job string) bool {
	return slices.Contains(accepted, AcceptInterrupt) || slices.Contains(accepted, AcceptInterruptJob(job))
}

// AcceptsInterruptions reports whether the operator accepted that each of these
// jobs is interrupted. Without a job, it is false.
func AcceptsInterruptions(accepted []string, jobs []pai.JobRef) bool {
	return len(jobs) > 0 && !slices.ContainsFunc(jobs, func(j pai.JobRef) bool { return !AcceptsInterruption(accepted, j.String()) })
}

// validateRisks returns a usage error for a name that is not a risk.
func validateRisks(names []string) error {
	for _, n := range names {
		machine, evict := strings.CutPrefix(n, acceptEvict)
		lost, lose := strings.CutPrefix(n, acceptLose)
		job, interrupt := strings.CutPrefix(n, acceptInterruptJob)
		if n == AcceptInterrupt || n == AcceptLoss || n == AcceptStrand || (evict && machine != "") || (lose && lost != "") || (interrupt && isJob(job)) {
			continue
		}
		return pai.Errorf(pai.CodeUsage, "use --accept-risk="+strings.Join([]string{AcceptInterrupt, AcceptInterruptJob("USER~NAME"), AcceptLoss, AcceptStrand, AcceptEvict("MACHINE"), AcceptLose("MACHINE")}, " or --accept-risk="), "%q is not a risk", n)
	}
	return nil
}

// isJob reports whether a text has the form USER~NAME.
func isJob(text string) bool {
	user, name, found := strings.Cut(text, "~")
	return found && user != "" && name != "" && !strings.ContainsAny(text, " \t\n")
}
