package rest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"pai.dev/pai/internal/poll"
)

const (
	// attempts is the number of writes after conflicts.
	attempts = 8
	// conflictPause is the longest pause after the first conflict. It doubles up to
	// maxConflictPause.
	conflictPause    = 50 * time.Millisecond
	maxConflictPause = 400 * time.Millisecond
)

// despiteConflicts reads and writes an object with do, again if others wrote it between.
// The random pauses keep writers apart that start at the same time, such as the logins of
// a course. The error of the last conflict is a contended one.
func despiteConflicts(ctx context.Context, do func() error) error {
	longest := conflictPause
	for n := 1; ; n++ {
		err := do()
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
		if n == attempts {
			return contended{err}
		}
		if ended := poll.Sleep(ctx, rand.N(longest)); ended != nil { //nolint:gosec // no secret
			return contended{errors.Join(ended, err)}
		}
		longest = min(2*longest, maxConflictPause)
	}
}

// errContended is what users see of a contended error.
var errContended = errors.New("others change it at the same time")

// contended is the error of a write that others were faster than each time. It counts as
// errUnavailable: a retry might succeed.
type contended struct{ err error }

func (c contended) Error() string      { return errContended.Error() + ": " + c.err.Error() }
func (c contended) Unwrap() error      { return c.err }
func (contended) Is(target error) bool { return target == errUnavailable }
