package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/tasklog"
)

// rotating is a machine whose kubelet rotates the output of a task at the worst moments.
type rotating struct {
	lines   []string // all that was written
	newest  int      // the first one of the newest file
	asked   []tasklog.Request
	between func() // what happens before the machine is read
	err     error
}

func (m *rotating) line(n int) string {
	return fmt.Sprintf("%s line %d\n", time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).Format(time.RFC3339Nano), n)
}

func (m *rotating) write(n int) {
	for range n {
		m.lines = append(m.lines, m.line(len(m.lines)))
	}
}

func (m *rotating) rotate() { m.newest = len(m.lines) }

func (m *rotating) Read(_ context.Context, machine string, r tasklog.Request) (io.ReadCloser, string, error) {
	if machine != "pai-2" {
		return nil, "", fmt.Errorf("asked machine %s", machine)
	}
	m.asked = append(m.asked, r)
	if m.err != nil {
		return nil, "", m.err
	}
	if m.between != nil {
		m.between()
	}
	text := ""
	for n, line := range m.lines {
		if at := time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC); !at.Before(r.Since) {
			text += line
		}
	}
	return io.NopCloser(strings.NewReader(text)), "", nil
}

func (m *rotating) output(t *testing.T) taskOutput {
	return taskOutput{machine: "pai-2", output: m, newest: func(_ context.Context, o LogOptions) (io.ReadCloser, error) {
		if !o.Follow {
			t.Errorf("the API server is asked for %+v", o)
		}
		return io.NopCloser(strings.NewReader(strings.Join(m.lines[m.newest:], ""))), nil
	}}
}

func want(n int) string {
	text := ""
	for i := range n {
		text += fmt.Sprintf("line %d\n", i)
	}
	return text
}

// Followed output has no gap and no repetition, whenever the kubelet rotates it.
func TestFollowedOutputSurvivesRotations(t *testing.T) {
	t.Parallel()
	m := &rotating{}
	m.write(4)
	m.rotate()
	m.write(2)
	m.between = func() {
		// After the first read, and after the API server follows.
		m.write(3)
		m.rotate()
		m.write(1)
	}
	ended := true
	stream, err := m.output(t).follow(t.Context(), LogOptions{Follow: true}, func() bool { return ended })
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got, err := io.ReadAll(stream)
	if err != nil || string(got) != want(14) {
		t.Errorf("got %q, %v, want 14 lines", got, err)
	}
	for _, r := range m.asked {
		if !r.WholeLines || !r.Timestamps {
			t.Errorf("asked for %+v, want whole lines with times", r)
		}
	}
	if len(m.asked) != 2 || m.asked[1].Since.IsZero() {
		t.Errorf("asked %+v, want the second time since the last line", m.asked)
	}
}

// The end of the stream is an error while the task runs.
func TestFollowedOutputIsCompleteOnlyIfTheTaskEnded(t *testing.T) {
	t.Parallel()
	m := &rotating{}
	m.write(2)
	stream, err := m.output(t).follow(t.Context(), LogOptions{Follow: true}, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if got, err := io.ReadAll(stream); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != want(2) {
		t.Errorf("got %q, %v", got, err)
	}
}

// If the files of a machine cannot be read, the caller learns that output is missing.
func TestMissingFilesAreNamed(t *testing.T) {
	t.Parallel()
	m := &rotating{err: errors.New("no pod runs on machine pai-2")}
	m.write(3)
	m.rotate()
	m.write(1)
	said, unread := "", ""
	o := LogOptions{Follow: true, Missing: func(what string) { said += what }, Unread: func(err error) { unread += err.Error() }}
	stream, err := m.output(t).follow(t.Context(), o, func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if got, err := io.ReadAll(stream); err != nil || string(got) != m.line(3) {
		t.Errorf("got %q, %v", got, err)
	}
	if !strings.Contains(said, "older output might be missing") || unread != "no pod runs on machine pai-2" || strings.Contains(said, unread) {
		t.Errorf("got %q, and for the log %q", said, unread)
	}
}

// Of a task that has ended, output that its machine deleted is named. The API
// server would answer with a sentence of the kubelet in its place. While the task runs, its
// files can still come.
func TestOutputThatIsGoneIsNamed(t *testing.T) {
	t.Parallel()
	m := &rotating{err: fmt.Errorf("read the output on machine pai-2: %w", tasklog.ErrGone)}
	m.write(1)
	for _, follow := range []bool{false, true} {
		for _, ended := range []bool{false, true} {
			output := m.output(t)
			output.ended = ended
			output.newest = func(context.Context, LogOptions) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("unable to retrieve container logs")), nil
			}
			read := func() (io.ReadCloser, error) { return output.whole(t.Context(), LogOptions{}) }
			if follow {
				read = func() (io.ReadCloser, error) {
					return output.follow(t.Context(), LogOptions{Follow: true}, func() bool { return true })
				}
			}
			stream, err := read()
			if ended != (pai.CodeOf(err) == pai.CodeNotFound && strings.Contains(fmt.Sprint(err), "evicted")) || ended == (stream != nil) {
				t.Errorf("followed %t, ended %t: got %v, %v", follow, ended, stream, err)
			}
		}
	}
}

// What a command in the pod of a machine writes is a header and the output, or an error.
func TestCommandOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, out, stderr, want, missing, err string }{
		{"output", `{}` + "\na\nb", "", "a\nb", "", ""},
		{"missing", `{"missing":"old lines"}` + "\n", "", "", "old lines", ""},
		{"refused", "", "the machine has no output of pod x\n", "", "", "read the output on machine pai-1: the machine has no output of pod x"},
		{"gone", `{"gone":true}` + "\n", "", "", "", "read the output on machine pai-1: the machine has no output of the task"},
		{"no header", "a", "", "", "", "read the output on machine pai-1: EOF"},
		{"long", strings.Repeat("a", 2*maxOutputHeader), "", "", "", "buffer full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream, missing, err := begin(t.Context(), "pai-1", func(_ context.Context, out, said io.Writer) error {
				if c.stderr != "" {
					_, _ = io.WriteString(said, c.stderr)
					return errors.New("command terminated with exit code 1")
				}
				_, err := io.WriteString(out, c.out)
				return err
			})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			got, err := io.ReadAll(stream)
			if err != nil || string(got) != c.want || missing != c.missing {
				t.Errorf("got %q, %q, %v", got, missing, err)
			}
		})
	}
	t.Run("breaks", func(t *testing.T) {
		stream, _, err := begin(t.Context(), "pai-1", func(_ context.Context, out, _ io.Writer) error {
			_, _ = io.Copy(out, io.MultiReader(strings.NewReader("{}\na\n"), iotest.ErrReader(errors.New("broken"))))
			return errors.New("broken")
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if got, err := io.ReadAll(stream); err == nil || string(got) != "a\n" {
			t.Errorf("got %q, %v, want an error at the end", got, err)
		}
	})
	said := &firstBytes{left: 4}
	if n, err := io.Copy(said, bytes.NewReader(make([]byte, 100))); n != 100 || err != nil || said.Len() != 4 {
		t.Errorf("got %d bytes of %d, %v", said.Len(), n, err)
	}
}

// What is missing reaches the client, and is not in the output.
func TestClientLearnsWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := &scripted{logs: func(_ context.Context, o LogOptions) (io.ReadCloser, error) {
		o.Missing("output before 12:00 might be missing")
		return io.NopCloser(strings.NewReader("a\n")), nil
	}}
	access, _ := start(t, s, 0)
	for _, follow := range []bool{false, true} {
		said := ""
		stream, err := client(t, access).Logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: follow, Missing: func(what string) { said += what }})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(stream); err != nil || string(got) != "a\n" || said != "output before 12:00 might be missing" {
			t.Errorf("got %q, %q, %v", got, said, err)
		}
		stream.Close()
	}
}

// Negative numbers are refused, not guessed.
func TestLogNumbersAreChecked(t *testing.T) {
	t.Parallel()
	access, _ := start(t, &scripted{}, 0)
	for _, o := range []LogOptions{{Index: -1}} {
		if _, err := client(t, access).Logs(t.Context(), JobID{"alice", "train"}, o); err == nil || !strings.Contains(err.Error(), "negative") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}
