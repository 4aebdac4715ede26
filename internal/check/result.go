package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"pai.dev/pai/internal/pai"
)

// Outcome is the outcome of a check.
type Outcome string

const (
	OK      Outcome = "ok"
	Warning Outcome = "warning" // blocks nothing
	Failed  Outcome = "failed"
	// Unknown is for what could not be observed. It counts as failed.
	Unknown Outcome = "unknown"
)

// severity orders outcomes for the report.
func (o Outcome) severity() int { return slices.Index([]Outcome{Failed, Unknown, Warning, OK}, o) }

// Result is what one check found about one target.
type Result struct {
	ID      string  `json:"id"`
	Target  string  `json:"target"` // a machine, a service, an object; empty for the cluster
	Outcome Outcome `json:"outcome"`
	Found   string  `json:"found"`
	Fix     string  `json:"fix"` // empty if there is nothing to do
}

// Bad reports whether a result blocks an operation.
func (r Result) Bad() bool { return r.Outcome == Failed || r.Outcome == Unknown }

func okay(target, format string, args ...any) Result {
	return Result{Target: target, Outcome: OK, Found: fmt.Sprintf(format, args...)}
}

func warning(target, fix, format string, args ...any) Result {
	return Result{Target: target, Outcome: Warning, Found: fmt.Sprintf(format, args...), Fix: fix}
}

func failed(target, fix, format string, args ...any) Result {
	return Result{Target: target, Outcome: Failed, Found: fmt.Sprintf(format, args...), Fix: fix}
}

// unknown is the result for what could not be observed.
func unknown(target string, err error) Result {
	return Result{Target: target, Outcome: Unknown, Found: "could not be observed: " + err.Error(),
		Fix: cmp.Or(hintOf(err), "fix the cause and run the check again")}
}

func unknownf(target, format string, args ...any) Result {
	return unknown(target, fmt.Errorf(format, args...))
}

// summary fails with the problems, or else warns with the warnings, or else
// returns okay.
func summary(target, fix string, problems, warnings []string, format string, args ...any) Result {
	switch {
	case len(problems) > 0:
		return failed(target, fix, "%s", strings.Join(problems, "; "))
	case len(warnings) > 0:
		return warning(target, fix, "%s", strings.Join(warnings, "; "))
	default:
		return okay(target, format, args...)
	}
}

// orOkay returns results or, if there are none, okay.
func orOkay(results []Result, format string, args ...any) []Result {
	if len(results) == 0 {
		return []Result{okay("", format, args...)}
	}
	return results
}

// hintOf returns the hint of an error.
func hintOf(err error) string {
	var e *pai.Error
	if errors.As(err, &e) {
		return e.Next
	}
	return ""
}

func size(bytes int64) string { return humanize.IBytes(uint64(bytes)) }

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
