package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

const (
	followPause   = time.Second
	followTimeout = 5 * time.Minute // an upgrade is shorter
)

// follow reads a task's output from one connection after the other until the
// task has ended. Times tell which lines have been seen: they are asked for,
// and taken off again unless the caller wants them.
func (c *Client) follow(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{client: c, id: id, options: o, timestamps: o.Timestamps}
	f.options.Timestamps = true
	first, err := c.logs(ctx, id, f.options)
	if err != nil {
		cancel()
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		defer cancel()
		w.CloseWithError(f.run(ctx, first, w))
	}()
	return followReader{r, cancel}, nil
}

type followReader struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (r followReader) Close() error {
	r.cancel()
	return r.PipeReader.Close()
}

type follower struct {
	client     *Client
	id         JobID
	options    LogOptions
	timestamps bool      // wanted by the caller
	last       time.Time // of the newest line that was passed on
}

// run returns nil when the task has ended.
func (f *follower) run(ctx context.Context, stream io.ReadCloser, w io.Writer) error {
	alive := time.Now()
	for {
		if stream != nil {
			passed, err := f.pass(stream, w)
			stream.Close()
			if passed {
				alive = time.Now()
			}
			if err == nil || errors.Is(err, io.ErrClosedPipe) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followPause):
		}
		var err error
		if !f.last.IsZero() {
			f.options.Tail, f.options.Since = 0, f.last
		}
		if stream, err = f.client.logs(ctx, f.id, f.options); err != nil {
			stream = nil
			if !errors.Is(err, errUnavailable) || time.Since(alive) > followTimeout {
				return err
			}
		}
	}
}

// pass writes the lines that are new; nil means that the stream came to its
// end, and the task with it.
func (f *follower) pass(stream io.Reader, w io.Writer) (passed bool, err error) {
	lines := bufio.NewReader(stream)
	seen := f.last
	for {
		line, err := lines.ReadString('\n')
		// A line that broke off comes again, whole.
		if line != "" && (err == nil || errors.Is(err, io.EOF)) {
			stamp, text, _ := strings.Cut(line, " ")
			at, parseErr := time.Parse(time.RFC3339Nano, stamp)
			if parseErr != nil {
				at, text = f.last, line
			}
			if parseErr == nil && !seen.IsZero() && !at.After(seen) {
				continue
			}
			if f.timestamps {
				text = line
			}
			if _, err := io.WriteString(w, text); err != nil {
				return passed, io.ErrClosedPipe
			}
			f.last, passed = at, true
		}
		switch {
		case err == io.EOF:
			return passed, nil
		case err != nil:
			return passed, err
		}
	}
}
