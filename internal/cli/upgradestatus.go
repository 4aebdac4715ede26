package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

func newUpgradeStatusCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "status",
		Short: "Show upgrade progress, waiting machines, and the next command",
	}, session.Open, operation.UpgradeStatus, writeUpgradeStatus)
}

func writeUpgradeStatus(p *ui.Page, st operation.Status) {
	p.Linef("the cluster runs %s", describeRunning(st.Current, st.APIError))
	if op := st.Operation; op == nil {
		p.Linef("no upgrade is in progress or unfinished")
	} else {
		p.Linef("%s to %s: %s (operation %s, by %s, started %s)", operationName(*op), describeTarget(*op), describeState(st), op.ID, op.By, ui.Time(op.Started))
		p.Linef("  steps\t%d done, %d left", len(st.Done), len(st.Left))
		if st.State != operation.StateDone {
			for _, id := range st.Left {
				p.Linef("  \t  %s", id)
			}
		}
		for _, line := range ui.Ends(op.Jobs) {
			p.Linef("  %s", line)
		}
		if op.Error != "" && st.State == operation.StateUnfinished {
			p.Linef("  error\t%s", op.Error)
			for _, s := range op.Steps {
				for line := range strings.Lines(s.Details) {
					p.Linef("  \t  %s", strings.TrimSuffix(line, "\n"))
				}
			}
		}
	}
	if a := st.Abandoned; a != nil {
		p.Linef("  abandoned\tby %s, %s, in operation %s; the next upgrade includes the remaining steps", a.By, ui.Time(a.At), a.Operation)
	}
	for _, w := range st.Waiting {
		p.Linef("  waiting\t%s since %s for %s", w.Machine, ui.Time(w.Since), waitsFor(*st.Operation, w))
		p.Linef("  \t  %s", w.Reason)
	}
	for _, c := range st.Cordoned {
		by := c.By
		if c.Operation != "" {
			by += ", in operation " + c.Operation
		}
		p.Linef("  cordoned\t%s, by %s", c.Machine, by)
	}
	if st.Lock != nil {
		p.Linef("  lock\theld by %s%s", st.Lock.Holder, map[string]string{"dead": "; that process is no longer running"}[st.Lock.Health])
	}
	if st.APIError != "" {
		p.Linef("jobs and cordons are from the journal; the API server is not responding: %s", st.APIError)
	}
	if st.Next != "" {
		p.Linef("to continue, run: %s", st.Next)
	}
}

func describeState(st operation.Status) string {
	switch {
	case st.State == operation.StateUnfinished && st.Operation.Outcome == pai.OutcomeRunning:
		return "unfinished, its process is no longer running"
	case st.State == operation.StateUnfinished:
		return "unfinished, " + string(st.Operation.Outcome)
	case st.State == operation.StateInProgress:
		return "in progress"
	default:
		return st.State
	}
}

// describeTarget is the pair that an operation leads to. A rollback during an API outage
// leaves the services for later.
func describeTarget(op pai.Operation) string {
	if op.Verb == pai.VerbRollback {
		return describeRunning(op.To, "unknown during the rollback")
	}
	return describePair(op.To)
}

// operationName is what the status calls an operation.
func operationName(op pai.Operation) string {
	if op.Verb == pai.VerbRollback {
		return "rollback"
	}
	return "upgrade"
}

func waitsFor(op pai.Operation, w operation.WaitingState) string {
	switch {
	case w.Ready && op.Verb == pai.VerbRollback:
		return "no job; it can be rolled back"
	case w.Ready:
		return "no job; it can be upgraded"
	}
	return pai.JobRefs(w.Jobs).String()
}
