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
	first, err := f.open(ctx)
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
	served     time.Time // when a server last had the task; zero if none had yet
	last       time.Time // of the newest line that was written
	written    int       // bytes of that line, if its end is missing
}

// run returns nil if the task has ended.
func (f *follower) run(ctx context.Context, stream io.ReadCloser, w io.Writer) error {
	for {
		err := f.pass(stream, w)
		stream.Close()
		f.served = time.Now()
		if err == nil || errors.Is(err, io.ErrClosedPipe) {
			return err
		}
		if err := poll.Sleep(ctx, followPause); err != nil {
			return err
		}
		if !f.last.IsZero() {
			f.options.Tail, f.options.Since = 0, f.last
		}
		if stream, err = f.open(ctx); err != nil {
			return err
		}
	}
}

// open opens a stream. It asks again without end while the task waits to start, and for
// followTimeout while servers are replaced. If no server answers at all, the user learns
// it at once.
func (f *follower) open(ctx context.Context) (io.ReadCloser, error) {
	for {
		stream, err := f.client.logs(ctx, f.id, f.options)
		if f.served.IsZero() && !errors.Is(err, errUnreachable) || errors.Is(err, errNotStarted) {
			f.served = time.Now()
		}
		again := errors.Is(err, errUnavailable) || errors.Is(err, errBusy)
		if !again || time.Since(f.served) > followTimeout {
			return stream, err
		}
		if err := poll.Sleep(ctx, followPause); err != nil {
			return nil, err
		}
	}
}

// maxLine is how much of a line the client holds. The rest of a longer line is written
// as it arrives.
const maxLine = 1 << 20

// pass writes the new lines. A nil error means that the task has ended.
func (f *follower) pass(stream io.Reader, w io.Writer) error {
	lines := bufio.NewReaderSize(stream, maxLine)
	p := passing{follower: f, seen: f.last, unfinished: f.written}
	for {
		piece, err := lines.ReadSlice('\n')
		more := errors.Is(err, bufio.ErrBufferFull)
		// The server sends an incomplete line again.
		if len(piece) > 0 && (err == nil || more || errors.Is(err, io.EOF)) {
			if err := p.write(w, string(piece), more); err != nil {
				return io.ErrClosedPipe
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !more:
			return err
		}
	}
}

// passing is one connection of a follower.
type passing struct {
	*follower
	seen       time.Time // of the last line that an earlier connection wrote
	unfinished int       // bytes of that line that were written, if it was not complete

	inLine bool // the piece before belongs to the same line
	skip   int  // bytes of the line that were written before; -1 for all
	at     int  // position in the line
}

// write writes the new part of a piece of a line; more pieces of the line can follow.
func (p *passing) write(w io.Writer, piece string, more bool) error {
	if !p.inLine {
		piece = p.begin(piece)
	}
	start := p.at
	p.at += len(piece)
	p.inLine = more
	if p.skip < 0 {
		return nil
	}
	if done := min(max(p.skip-start, 0), len(piece)); done < len(piece) || len(piece) == 0 {
		if _, err := io.WriteString(w, piece[done:]); err != nil {
			return err
		}
		p.written = p.at
	}
	if !more {
		p.written = 0
	}
	return nil
}

// begin reads the time of a line and returns what is written of its first piece.
func (p *passing) begin(piece string) string {
	stamp, text, _ := strings.Cut(piece, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	p.at, p.skip = 0, 0
	switch {
	case err != nil: // a line without a time continues the one before
		return piece
	case p.seen.IsZero() || at.After(p.seen):
		p.last, p.written = at, 0
	case at.Equal(p.seen) && p.unfinished > 0:
		p.skip = p.unfinished
	default:
		p.skip = -1
	}
	if p.timestamps {
		return piece
	}
	return text
}
