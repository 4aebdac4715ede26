package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// reader reads an object. It ends if the server sends nothing for callLimit, or if the
// whole takes too long for its size.
type reader struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	target *target
	key    string
	from   io.ReadCloser
	whole  *time.Timer
}

// limit ends the context after a time.
func (r *reader) limit(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() { r.cancel(fmt.Errorf("the server did not send it within %s", d)) })
}

func (r *reader) Read(p []byte) (int, error) {
	limit := r.limit(callLimit)
	defer limit.Stop()
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.target.explain(r.ctx, "read "+r.key, err)
	}
	return n, err
}

func (r *reader) Close() error {
	r.whole.Stop()
	r.cancel(nil)
	return r.from.Close()
}
