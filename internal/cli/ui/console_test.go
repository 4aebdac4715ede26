package ui

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

func TestShowWritesTextOrJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ format, want string }{
		{"text", "NAME     STATE\na        -\nlonger   ready\n"},
		{"json", "[\n  \"a <b>\"\n]\n"},
	} {
		var out strings.Builder
		console := Console{Out: &out, Format: c.format}
		err := console.Show([]string{"a <b>"}, func(p *Page) {
			p.Row("NAME", "STATE")
			p.Row("a", "")
			p.Row("longer", pai.Outcome("ready"))
		})
		if err != nil || out.String() != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.format, out.String(), err, c.want)
		}
	}
}

func TestUnknownFormatIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format string
		want   int
	}{{"", 0}, {"text", 0}, {"json", 0}, {"yaml", 2}} {
		var code int
		if err := (&Console{Format: c.format}).CheckFormat(); err != nil {
			code = pai.ExitCode(err)
		}
		if code != c.want {
			t.Errorf("%q: got exit code %d, want %d", c.format, code, c.want)
		}
	}
}

// failsOnce fails its first write.
type failsOnce struct{ failed bool }

var errClosed = errors.New("closed")

func (w *failsOnce) Write(p []byte) (int, error) {
	if !w.failed {
		w.failed = true
		return 0, errClosed
	}
	return len(p), nil
}

// An error in the middle of a page is not hidden by what follows.
func TestPageKeepsFirstError(t *testing.T) {
	t.Parallel()
	err := Text(&failsOnce{}, func(p *Page) {
		for range 3 {
			p.Row("a", "b")
			p.Linef("")
			p.Text("c\n")
		}
	})
	if !errors.Is(err, errClosed) {
		t.Errorf("got %v, want %v", err, errClosed)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{Size(999), "999 B"}, {Size(21_300_000), "21 MB"}, {Size(-1), "0 B"},
		{Age(90 * time.Second), "90s"}, {Age(76 * time.Hour), "3d4h"},
		{Time(time.Time{}), ""}, {List(nil), "nothing"}, {List([]string{"a", "b"}), "a, b"},
		{FirstLine("a\nb"), "a"}, {OrDash(""), "-"}, {OrDash(0), "0"}, {clock(61 * time.Second), "1:01"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
