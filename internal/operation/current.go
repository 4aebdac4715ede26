package operation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// lastOperation is the last operation of the journal that can leave something
// partially applied; nil if there is none.
func lastOperation(ctx context.Context, journal *run.Journal) (last *pai.Operation, err error) {
	err = journal.Newest(ctx, func(op pai.Operation) bool {
		if op.Verb.LeavesNothingPartial() {
			return false
		}
		last = &op
		return true
	})
	return last, err
}

// currentOperation reads from the journal and the lock which operation is
// unfinished, and which process works on it.
func currentOperation(ctx context.Context, s *session.Session) (check.Operation, error) {
	var o check.Operation
	store, err := s.Store()
	if err != nil {
		return o, err
	}
	if o.Unfinished, err = run.NewJournal(store).Current(ctx); err != nil {
		return o, err
	}
	if o.Unfinished != nil && o.Unfinished.Verb.LeavesNothingPartial() {
		o.Unfinished = nil
	}
	number, holder, err := run.Current(ctx, store)
	if err != nil || holder == nil || holder.Verb == pai.VerbScheduledBackup { // an operation waits for its end
		return o, err
	}
	self, err := run.ThisProcess(s.Version, pai.VerbCheck)
	if err != nil {
		return o, err
	}
	silent, err := shortestSilence(ctx, s, run.LockFile(number))
	if err != nil {
		return o, err
	}
	if self.Liveness(*holder) != "dead" && silent < run.LeaseDuration {
		o.Holder = holder.String()
	}
	return o, nil
}

// shortestSilence is silence on the control-plane machine that heard from the holder last. Of
// several, one that was off has no such file.
func shortestSilence(ctx context.Context, s *session.Session, file string) (shortest time.Duration, err error) {
	var failed []error
	known := false
	for _, m := range s.Config.ControlPlanes() {
		host := s.Hosts[m.Hostname]
		if host == nil {
			continue
		}
		silent, err := silence(ctx, host, file)
		switch {
		case err != nil:
			failed = append(failed, err)
		case !known || silent < shortest:
			shortest, known = silent, true
		}
	}
	if !known {
		return 0, errors.Join(failed...)
	}
	return shortest, nil
}

// silence is how long a file was not written, by the clock of the machine.
func silence(ctx context.Context, host machine.Host, file string) (time.Duration, error) {
	out, err := host.Run(ctx, machine.Command{Script: "echo $(( $(date +%s) - $(stat -c %Y " + machine.Quote(file) + ") ))"})
	if err != nil {
		return 0, fmt.Errorf("read the age of the lock: %w", err)
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(out.Stdout))
	if err != nil {
		return 0, fmt.Errorf("read the age of the lock: %w", err)
	}
	return time.Duration(seconds) * time.Second, nil
}
