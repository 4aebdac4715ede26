package tasklog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

var origin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// machine writes files as a runtime and a kubelet do.
type machine struct {
	pods    string
	dir     string
	at      time.Time
	rotated []string
	lines   []string // complete lines, with the time of their first part in front
	within  string   // a line that has no end yet
	last    time.Time
}

func newMachine(t testing.TB) *machine {
	pods := t.TempDir()
	m := &machine{pods: pods, dir: filepath.Join(pods, "pai-vc-default_train-worker-0_0e9f", "task"), at: origin}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m.append(t, "")
	return m
}

func (m *machine) current() string { return filepath.Join(m.dir, "0.log") }

func (m *machine) append(t testing.TB, text string) {
	f, err := os.OpenFile(m.current(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// write adds a part of a line.
func (m *machine) write(t testing.TB, text string, ends bool) {
	m.at = m.at.Add(300 * time.Millisecond)
	tag := "P"
	if m.within == "" {
		m.within = m.at.Format(time.RFC3339Nano) + " "
		m.last = m.at
	}
	m.within += text
	if ends {
		tag = "F"
		m.lines, m.within = append(m.lines, m.within+"\n"), ""
	}
	m.append(t, fmt.Sprintf("%s stdout %s %s\n", m.at.Format(time.RFC3339Nano), tag, text))
}

// rotate does what a kubelet does to a file that has its size.
func (m *machine) rotate(t testing.TB) {
	if n := len(m.rotated); n > 0 && !strings.HasSuffix(m.rotated[n-1], ".gz") {
		name := m.rotated[n-1]
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(data)
		_ = w.Close()
		if err := os.WriteFile(name+".gz", packed.Bytes(), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		m.rotated[n-1] += ".gz"
	}
	m.at = m.at.Add(10 * time.Second)
	name := m.current() + "." + m.at.Format("20060102-150405")
	if err := os.Rename(m.current(), name); err != nil {
		t.Fatal(err)
	}
	m.rotated = append(m.rotated, name)
	m.append(t, "")
}

func (m *machine) read(t testing.TB, r Request) (Header, string) {
	r.Namespace, r.Pod, r.Container = "pai-vc-default", "train-worker-0", "task"
	var out bytes.Buffer
	if err := Read(m.pods, r, &out); err != nil {
		t.Fatal(err)
	}
	first, text, _ := strings.Cut(out.String(), "\n")
	var header Header
	if err := json.Unmarshal([]byte(first), &header); err != nil {
		t.Fatal(err)
	}
	return header, text
}

// All output is read in its order, over any rotations, with every selection.
func TestReadProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		for range rapid.IntRange(0, 25).Draw(rt, "events") {
			if len(m.rotated) < keptFiles-2 && rapid.IntRange(0, 5).Draw(rt, "rotate") == 0 {
				m.rotate(t)
			} else {
				m.write(t, rapid.StringMatching(`[ -~]{0,20}`).Draw(rt, "text"), rapid.IntRange(0, 3).Draw(rt, "ends") > 0)
			}
		}
		r := Request{Timestamps: rapid.Bool().Draw(rt, "timestamps"), WholeLines: rapid.Bool().Draw(rt, "whole lines"), Tail: rapid.Int64Range(0, 12).Draw(rt, "tail")}
		lines := m.lines
		if m.within != "" && !r.WholeLines {
			lines = append(lines[:len(lines):len(lines)], m.within)
		}
		if r.Tail > 0 {
			lines = lines[max(0, len(lines)-int(r.Tail)):]
		} else if rapid.Bool().Draw(rt, "since") {
			r.Since = origin.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second)
		}
		want := ""
		for _, line := range lines {
			stamp, text, _ := strings.Cut(line, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				rt.Fatal(err)
			}
			if at.Before(r.Since) {
				continue
			}
			if r.Timestamps {
				text = line
			}
			want += text
		}
		header, got := m.read(t, r)
		if got != want || header.Missing != "" {
			rt.Fatalf("%+v: got %q, missing %q, want\n%q", r, got, header.Missing, want)
		}
	})
}

// What the machine might have removed is named, unless it is not asked for.
func TestMissingOutputIsNamed(t *testing.T) {
	m := newMachine(t)
	for n := range keptFiles {
		if n > 0 {
			m.rotate(t)
		}
		m.write(t, fmt.Sprint("line ", n), true)
	}
	header, text := m.read(t, Request{})
	if want := "output before 2026-03-01T12:00:00Z might be missing: a machine keeps the newest 5 files of a task, of 10 MiB each"; header.Missing != want || strings.Count(text, "\n") != keptFiles {
		t.Errorf("got %q, %q, want %q", header.Missing, text, want)
	}
	for name, r := range map[string]Request{"last lines": {Tail: 5}, "fewer lines": {Tail: 2}, "newer output": {Since: origin.Add(time.Second)}} {
		if header, _ := m.read(t, r); header.Missing != "" {
			t.Errorf("%s: got %q, want nothing missing", name, header.Missing)
		}
	}
	for name, r := range map[string]Request{"more lines": {Tail: 6}, "older output": {Since: origin.Add(-time.Second)}} {
		if header, _ := m.read(t, r); header.Missing == "" {
			t.Errorf("%s: got nothing missing", name)
		}
	}
	// While the kubelet compresses a file, it has removed one already.
	if err := os.Rename(m.rotated[0], m.rotated[3]+".tmp"); err != nil {
		t.Fatal(err)
	}
	if header, text := m.read(t, Request{}); header.Missing == "" || !strings.HasPrefix(text, "line 1\n") {
		t.Errorf("while a file is compressed, got %q, %q", header.Missing, text)
	}
}

// Output that the machine has no more is not the same as a task that wrote nothing.
func TestOutputThatIsGone(t *testing.T) {
	m := newMachine(t)
	if header, text := m.read(t, Request{}); header.Gone || text != "" {
		t.Errorf("a task that wrote nothing: got %+v, %q", header, text)
	}
	for _, gone := range []string{m.current(), m.dir, filepath.Dir(m.dir)} { // in the order in which a kubelet deletes
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		if header, text := m.read(t, Request{Tail: 2}); !header.Gone || text != "" {
			t.Errorf("without %s: got %+v, %q", gone, header, text)
		}
	}
}

// A file that the kubelet has compressed and not removed yet is read once.
func TestCompressedFileIsReadOnce(t *testing.T) {
	m := newMachine(t)
	m.write(t, "first", true)
	m.rotate(t)
	before, err := os.ReadFile(m.rotated[0])
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, "second", true)
	m.rotate(t)
	if err := os.WriteFile(strings.TrimSuffix(m.rotated[0], ".gz"), before, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, text := m.read(t, Request{}); text != "first\nsecond\n" {
		t.Errorf("got %q", text)
	}
}

// A damaged place is named where it is, and the rest is read.
func TestDamagedOutputIsNamed(t *testing.T) {
	m := newMachine(t)
	m.write(t, "first", true)
	m.append(t, "\x00\x00\x00\n"+strings.Repeat("x", 2*maxRecord)+"\n")
	m.write(t, "second", true)
	m.rotate(t)
	m.write(t, "third", true)
	m.rotate(t)
	if _, text := m.read(t, Request{}); strings.Count(text, "0.log") != 1 || !strings.HasPrefix(text, "first\n[pai: output is missing here: 0.log.") || !strings.HasSuffix(text, ".gz is damaged]\nsecond\nthird\n") {
		t.Errorf("got %q", text)
	}
	if err := os.Truncate(m.rotated[0], 40); err != nil {
		t.Fatal(err)
	}
	if _, text := m.read(t, Request{}); !strings.HasPrefix(text, "[pai: output is missing here: 0.log.") || !strings.HasSuffix(text, "]\nthird\n") {
		t.Errorf("got %q", text)
	}
}

// A request reaches the output of jobs and nothing else of the machine.
func TestRequestStaysInTheOutputOfJobs(t *testing.T) {
	m := newMachine(t)
	m.write(t, "text", true)
	secret := filepath.Join(t.TempDir(), "task")
	if err := os.MkdirAll(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "0.log"), []byte(origin.Format(time.RFC3339Nano)+" stdout F secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(secret), filepath.Join(m.pods, "pai-vc-default_link_1")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(m.pods, "pai-vc-default_file_1", "task"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(secret, "0.log"), filepath.Join(m.pods, "pai-vc-default_file_1", "task", "0.log")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r    Request
		code pai.Code
	}{
		{Request{Namespace: "pai-system", Pod: "rest-server-1", Container: "rest-server"}, pai.CodeInvalid},
		{Request{Namespace: "pai-vc-default", Pod: "../..", Container: "task"}, pai.CodeInvalid},
		{Request{Namespace: "pai-vc-default", Pod: "train-worker-0", Container: ".."}, pai.CodeInvalid},
		{Request{Namespace: "pai-vc-default", Pod: "train-worker-0", Container: "task", Tail: -1}, pai.CodeInvalid},
	} {
		var out bytes.Buffer
		if err := Read(m.pods, c.r, &out); pai.CodeOf(err) != c.code || out.Len() > 0 {
			t.Errorf("%+v: got %q, %v, want %s", c.r, out.String(), err, c.code)
		}
	}
	for _, pod := range []string{"train-worker", "link", "file"} { // a beginning of a name, and links
		var out bytes.Buffer
		if err := Read(m.pods, Request{Namespace: "pai-vc-default", Pod: pod, Container: "task"}, &out); err != nil || out.String() != `{"gone":true}`+"\n" {
			t.Errorf("%s: got %q, %v, want that it has no output", pod, out.String(), err)
		}
	}
}

// FuzzRead reads files of any content. It ends, and writes a header first.
func FuzzRead(f *testing.F) {
	line := origin.Format(time.RFC3339Nano)
	f.Add([]byte(line+" stdout P a\n"+line+" stderr F b\n"), []byte("\x1f\x8b\x08"), int64(0), true, false)
	f.Add([]byte(line+" stdout F\n"+line+" stdout F:x \n\n"), []byte(line+" stdout F old\n"), int64(1), false, true)
	f.Fuzz(func(t *testing.T, current, rotated []byte, tail int64, timestamps, whole bool) {
		m := newMachine(t)
		for name, data := range map[string][]byte{"0.log": current, "0.log.20260301-120000": rotated, "0.log.20260301-110000.gz": rotated} {
			if err := os.WriteFile(filepath.Join(m.dir, name), data, 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if tail < 0 {
			tail = 0
		}
		_, text := m.read(t, Request{Tail: tail, Timestamps: timestamps, WholeLines: whole})
		if len(text) > 4*(len(current)+2*len(rotated))+4096 && len(rotated) < 1000 && !strings.HasPrefix(string(rotated), "\x1f\x8b") {
			t.Errorf("%d bytes became %d", len(current)+2*len(rotated), len(text))
		}
	})
}
