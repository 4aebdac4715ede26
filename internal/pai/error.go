package pai

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code is the kind of a failure. paictl converts it to its exit code, and the
// REST server to a status.
type Code string

const (
	CodeFailed      Code = "failed"      // exit 1: something that should work did not
	CodeUsage       Code = "usage"       // exit 2: the command was called wrongly
	CodeRefused     Code = "refused"     // exit 3: no path, the guard or a check forbids it
	CodeLocked      Code = "locked"      // exit 4: another operation is in progress
	CodeWaiting     Code = "waiting"     // exit 5: all steps are done except on machines that wait for their jobs
	CodeInterrupted Code = "interrupted" // exit 130: the user interrupted it
	CodeInvalid     Code = "invalid"     // exit 1: the input is wrong
	CodeNotFound    Code = "not-found"   // exit 1
	CodeConflict    Code = "conflict"    // exit 1: the name is in use
	CodeForbidden   Code = "forbidden"   // exit 1: not authenticated or not allowed
)

// Error is a failure as the user sees it: what happened, where, and what to do
// next. Err, the cause, can be nil.
type Error struct {
	Code    Code
	Message string
	Next    string
	// Details are lines that explain the failure, such as the journal of a unit.
	// They are shown below the error and are not part of its text.
	Details string
	Err     error
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Message
	case e.Message == "":
		return e.Err.Error()
	default:
		return e.Message + ": " + e.Err.Error()
	}
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error with a formatted text. A cause that is given with %w
// can be found with errors.Is and errors.As. next can be empty.
func Errorf(code Code, next, format string, args ...any) *Error {
	return &Error{Code: code, Next: next, Err: fmt.Errorf(format, args...)}
}

// WithDetails returns err with details and keeps its text, code, and hint. It
// returns err if there are no details.
func WithDetails(err error, details string) error {
	if err == nil || details == "" {
		return err
	}
	detailed := &Error{Code: CodeOf(err), Details: details, Err: err}
	var e *Error
	if errors.As(err, &e) {
		detailed.Next = e.Next
	}
	return detailed
}

// DetailsOf returns the details of every Error that err wraps, causes first;
// empty if there are none.
func DetailsOf(err error) string {
	var parts []string
	var collect func(error)
	collect = func(err error) {
		switch wrapper := err.(type) { //nolint:errorlint // collect looks at each wrapped error by itself
		case interface{ Unwrap() error }:
			collect(wrapper.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range wrapper.Unwrap() {
				collect(e)
			}
		}
		if e, ok := err.(*Error); ok && e.Details != "" && !slices.Contains(parts, e.Details) { //nolint:errorlint // as above
			parts = append(parts, e.Details)
		}
	}
	collect(err)
	return strings.Join(parts, "\n")
}

// CodeOf returns the code of the first Error in the chain of err, and CodeFailed
// if there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeFailed
}

// ExitCode returns the exit code of a program for err.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch CodeOf(err) {
	case CodeUsage:
		return 2
	case CodeRefused:
		return 3
	case CodeLocked:
		return 4
	case CodeWaiting:
		return 5
	case CodeInterrupted:
		return 130
	default:
		return 1
	}
}

// NextOf returns the hint of the outermost Error that err wraps and that has one.
func NextOf(err error) string {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Next != "" {
			return e.Next
		}
	}
	return ""
}
