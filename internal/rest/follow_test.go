package rest

import (
	"context"
	"fmt"
	"io"
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
