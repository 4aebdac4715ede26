package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"pai.dev/pai/internal/poll"
)

const (
	followPause   = time.Second
	followTimeout = 5 * time.Minute // longer than the outage of an upgrade
)

// follow reads the output of a task, over several connections if necessary,
// until the task has ended. The time of each line shows whether it was read
// before; follow removes the times unless the caller wants them.
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
	timestamps bool      // the caller wants them
	last       time.Time // of the newest line that was written
}

// run returns nil if the task has ended.
func (f *follower) run(ctx context.Context, stream io.ReadCloser, w io.Writer) error {
	lastLine := time.Now()
	for {
		if stream != nil {
			passed, err := f.pass(stream, w)
			stream.Close()
			if passed {
				lastLine = time.Now()
			}
			if err == nil || errors.Is(err, io.ErrClosedPipe) {
				return err
			}
		}
		err := poll.Sleep(ctx, followPause)
		if err != nil {
			return err
		}
		if !f.last.IsZero() {
			f.options.Tail, f.options.Since = 0, f.last
		}
		if stream, err = f.client.logs(ctx, f.id, f.options); err != nil {
			stream = nil
			if !errors.Is(err, errUnavailable) || time.Since(lastLine) > followTimeout {
				return err
			}
		}
	}
}

// pass writes the new lines. A nil error means that the task has ended.
func (f *follower) pass(stream io.Reader, w io.Writer) (passed bool, err error) {
	lines := bufio.NewReader(stream)
	seen := f.last
	for {
		line, err := lines.ReadString('\n')
		// The server sends an incomplete line again.
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
