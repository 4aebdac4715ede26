package upgrade

import (
	"context"
	"errors"
	"os"
	"os/user"
	"strconv"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// finishTimeout bounds the last look and the last entry of an operation.
const finishTimeout = 2 * time.Minute

// begin records that the operation starts, or takes up the one toward the same
// goal that was left unfinished: its report goes on from where it was.
func (s *Session) begin(ctx context.Context, p plan.Plan, o Options) (entry *run.Entry, resumed bool, err error) {
	master, err := s.Master()
	if err != nil {
		return nil, false, err
	}
	journal := run.NewJournal(master)
	left, err := journal.Current(ctx)
	if err != nil {
		return nil, false, err
	}
	if left != nil && left.To == p.To && left.Verb == p.Verb {
		entry, err := journal.Resume(ctx, left.ID)
		return entry, true, err
	}
	entry, err = journal.Begin(ctx, pai.Operation{Verb: p.Verb, By: operator(), From: p.From, To: p.To, AcceptedRisks: o.Accept})
	return entry, false, err
}

// onlyUnrecorded reports whether an operation toward a plan's goal was killed at
// its very end: everything is done, and its record and report are not.
func (s *Session) onlyUnrecorded(ctx context.Context, p plan.Plan) (bool, error) {
	master, err := s.Master()
	if err != nil {
		return false, err
	}
	return unfinished(ctx, master, p)
}

// unfinished reports whether the journal ends with an operation toward a
// plan's goal that has no end.
func unfinished(ctx context.Context, store run.Store, p plan.Plan) (bool, error) {
	left, err := run.NewJournal(store).Current(ctx)
	return left != nil && left.Verb == p.Verb && left.To == p.To, err
}

// operator is who runs this: user@host.
func operator() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return name + "@" + host
}

// finish takes the witness's report and writes the end of the operation, also
// when the user interrupted it.
func finish(ctx context.Context, entry *run.Entry, result run.Result, w *watch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	report := w.stop(ctx)
	outcome, err := result.Outcome, result.Err()
	if n := len(report.Jobs.Interrupted); n > 0 {
		first := report.Jobs.Interrupted[0]
		err = errors.Join(pai.Errorf(pai.CodeFailed, "see the report with: paictl upgrade history -o json",
			"%d containers of running jobs were interrupted; the first is %s of job %s, during %s (%s)", n, first.Container, first.Job, first.Step, first.Cause), err)
		if outcome == pai.OutcomeSucceeded {
			outcome = pai.OutcomeFailed
		}
	}
	return errors.Join(err, result.Journal, entry.End(ctx, outcome, err, report))
}

// History is the operations of one verb, or of all when verb is empty, oldest first.
func (s *Session) History(ctx context.Context, verb string) ([]pai.Operation, error) {
	master, err := s.Master()
	if err != nil {
		return nil, err
	}
	all, err := run.NewJournal(master).List(ctx)
	if err != nil {
		return nil, err
	}
	chosen := []pai.Operation{}
	for _, op := range all {
		if verb == "" || op.Verb == verb {
			chosen = append(chosen, op)
		}
	}
	return chosen, nil
}
