package pai

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is; paictl turns it into its exit
// code, the REST server into a status.
type Code string

const (
	CodeFailed      Code = "failed"      // exit 1: something that should work did not
	CodeUsage       Code = "usage"       // exit 2: the command was called wrongly
	CodeRefused     Code = "refused"     // exit 3: no path, the guard or a check forbids it
	CodeLocked      Code = "locked"      // exit 4: another operation is under way
	CodeWaiting     Code = "waiting"     // exit 5: all is done that may be done now; machines wait for their jobs to end
	CodeInterrupted Code = "interrupted" // exit 130: the user interrupted it
	CodeInvalid     Code = "invalid"     // exit 1: the input is wrong
	CodeNotFound    Code = "not-found"   // exit 1
	CodeConflict    Code = "conflict"    // exit 1: the name is in use
	CodeForbidden   Code = "forbidden"   // exit 1: not authenticated or not allowed
)

// Error is a failure in the user's terms: what happened and where, and what
// to do next. Err, the cause, may be nil.
type Error struct {
	Code    Code
	Message string
	Next    string
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

// Errorf makes an Error whose text is format and args; a cause given with %w
// stays reachable for errors.Is and errors.As. next may be empty.
func Errorf(code Code, next, format string, args ...any) *Error {
	return &Error{Code: code, Next: next, Err: fmt.Errorf(format, args...)}
}

// CodeOf returns the code of the first Error in err's chain; CodeFailed when
// there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeFailed
}

// ExitCode is the exit code that a program ends with after err.
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
