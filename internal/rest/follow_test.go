package rest

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Followed output is complete and without repetitions, also over broken
// connections.
func TestFollowedLogsSurviveBrokenConnections(t *testing.T) {
	t.Parallel()
	at := func(n int) string { return time.Date(2025, 1, 1, 0, 0, n/3, n, time.UTC).Format(time.RFC3339Nano) }
	line := func(n int) string { return fmt.Sprintf("%s line %d\n", at(n), n) }
	attempt := 0
	s := &scripted{logs: func(_ context.Context, o LogOptions) (io.ReadCloser, error) {
		attempt++
		if !o.Timestamps || !o.Follow {
			t.Errorf("attempt %d asks for %+v", attempt, o)
		}
		// As Kubernetes does: everything of that second and later.
		var text strings.Builder
		upTo := min(attempt*2, 7)
		for n := range upTo {
			if since := o.Since.Truncate(time.Second); time.Date(2025, 1, 1, 0, 0, n/3, n, time.UTC).Before(since) {
				continue
			}
			text.WriteString(line(n))
		}
		if upTo == 7 {
			return io.NopCloser(strings.NewReader(text.String())), nil
		}
		broken := io.MultiReader(strings.NewReader(text.String()+line(upTo)[:20]), failing{})
		return io.NopCloser(broken), nil
	}}
	access, _ := start(t, s, 0)
	stream, err := client(t, access).Logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got, err := io.ReadAll(stream)
	if want := "line 0\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if attempt != 4 {
		t.Errorf("%d attempts", attempt)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// endless is output without line ends.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = 'x'
	}
	e.left -= n
	return n, nil
}

// A line without end does not grow the client, and is complete and not repeated when
// its connection breaks.
func TestFollowedLineWithoutEnd(t *testing.T) {
	const size = 48 << 20
	stamp := "2025-01-01T00:00:01Z "
	attempt := 0
	s := &scripted{logs: func(context.Context, LogOptions) (io.ReadCloser, error) {
		if attempt++; attempt == 1 {
			return io.NopCloser(io.MultiReader(strings.NewReader(stamp), &endless{left: size / 2})), nil
		}
		all := io.MultiReader(strings.NewReader(stamp), io.LimitReader(&endless{left: size + 1}, size), strings.NewReader("\n2025-01-01T00:00:02Z end\n"))
		return io.NopCloser(all), nil
	}}
	access, _ := start(t, s, 0)
	stream, err := client(t, access).Logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	most := uint64(0)
	got, tail := 0, ""
	buf := make([]byte, 1<<20)
	for err == nil {
		var n int
		n, err = stream.Read(buf)
		if got>>20 != (got+n)>>20 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
		}
		got += n
		tail += string(buf[max(n-8, 0):n])
		tail = tail[max(len(tail)-8, 0):]
	}
	if err != io.EOF || got != size+len("\nend\n") || !strings.HasSuffix(tail, "x\nend\n") {
		t.Errorf("got %d bytes that end with %q, %v", got, tail, err)
	}
	if most > before.HeapInuse+32<<20 {
		t.Errorf("the heap grew by %d MB", (most-before.HeapInuse)>>20)
	}
}
