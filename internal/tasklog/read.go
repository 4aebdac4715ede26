package tasklog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"pai.dev/pai/internal/pai"
)

// Request selects output.
type Request struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	// Tail is the number of last lines; 0 means all.
	Tail int64 `json:"tail,omitempty"`
	// Timestamps puts the time (RFC 3339, nanoseconds) and a space before each line.
	Timestamps bool `json:"timestamps,omitempty"`
	// Since skips lines that began before that second.
	Since time.Time `json:"since,omitzero"`
	// WholeLines leaves out a line that has no end yet.
	WholeLines bool `json:"wholeLines,omitempty"`
}

// Header is the first line of what Read writes, in JSON.
type Header struct {
	// Missing says what the machine might have removed; empty if it has all that is
	// asked for.
	Missing string `json:"missing,omitempty"`
	// Gone is whether the machine has no file of the container. It is the only line then.
	Gone bool `json:"gone,omitempty"`
}

// ErrGone is the error of a reader whose Header says Gone: the container never had output,
// or the machine deleted it. A kubelet deletes the output of a task that it evicts.
var ErrGone = errors.New("the machine has no output of the task")

// A request names output of jobs, and nothing outside of the directory.
var (
	namespacePattern = regexp.MustCompile(`^pai-vc-[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	podPattern       = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	containerPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

func (r Request) check() error {
	if !namespacePattern.MatchString(r.Namespace) || !podPattern.MatchString(r.Pod) || !containerPattern.MatchString(r.Container) || r.Tail < 0 {
		return pai.Errorf(pai.CodeInvalid, "", "invalid request for the output of container %q of pod %q in namespace %q", r.Container, r.Pod, r.Namespace)
	}
	return nil
}

// Read writes a Header and the output of a container as it is now. dir is the directory
// of all pods (layout.PodLogs). Where a file is damaged, a line in the output names it.
func Read(dir string, r Request, w io.Writer) error {
	if err := r.check(); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the output of pods: %w", err)
	}
	defer root.Close()
	files, err := open(root, r)
	if errors.Is(err, ErrGone) {
		return writeHeader(w, Header{Gone: true})
	}
	if err != nil {
		return err
	}
	defer files.close()
	r.Since = r.Since.Truncate(time.Second)
	begin, err := files.find(r)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := writeHeader(out, Header{Missing: files.missing(r, begin)}); err != nil {
		return err
	}
	p := printer{request: r, out: out, filter: lineFilter{since: r.Since}, skip: begin.skip}
	for i, f := range files.files[:begin.files] {
		if i < begin.file {
			continue
		}
		if i == begin.files-1 {
			p.records = begin.records
		}
		if err := p.print(f); err != nil {
			return err
		}
	}
	return out.Flush()
}

func writeHeader(w io.Writer, h Header) error {
	line, err := json.Marshal(h)
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the header of the output: %w", err)
	}
	return nil
}

// part is the part of the files that a request asks for.
type part struct {
	file    int   // the first one
	skip    int64 // lines of it
	files   int   // the number of files that are read
	records int64 // how many of the last one; 0 means all
	all     bool  // files before the first one are not asked for
}

// find returns the part of a request. Only a request for last lines, or for whole lines,
// needs the files to be read for that.
func (l logFiles) find(r Request) (part, error) {
	found := part{files: len(l.files)}
	if r.WholeLines {
		var err error
		if found.files, found.records, err = l.lastEnd(); err != nil {
			return part{}, err
		}
	}
	if r.Tail == 0 {
		return found, nil
	}
	total := int64(0)
	for i := len(l.files) - 1; i >= 0; i-- {
		lines, unfinished, err := count(l.files[i], r)
		if err != nil {
			return part{}, err
		}
		// If newer files end no line, this is the last one.
		if unfinished && total == 0 && !r.WholeLines {
			total++
		}
		total += lines
		// One more: the line in which a file begins might have started before it.
		if total > r.Tail {
			found.file, found.skip, found.all = i, total-r.Tail, true
			return found, nil
		}
	}
	found.all = total == r.Tail
	return found, nil
}

// lastEnd finds the last record that ends a line, by the number of files and the number
// of records of the last one of them.
func (l logFiles) lastEnd() (files int, records int64, err error) {
	for i := len(l.files) - 1; i >= 0; i-- {
		n, last := int64(0), int64(0)
		err := l.files[i].each(func(rec record) error {
			if n++; rec.ends {
				last = n
			}
			return nil
		}, ignoreDamage)
		if err != nil || last > 0 {
			return i + 1, last, err
		}
	}
	return 0, 0, nil
}

func ignoreDamage(string) error { return nil }

// count returns how many lines end in a file that are not older than what is asked for,
// and whether it ends within a line.
func count(f logFile, r Request) (lines int64, unfinished bool, err error) {
	c := lineFilter{since: r.Since}
	err = f.each(func(rec record) error {
		if c.wants(rec) && rec.ends {
			lines++
		}
		return nil
	}, func(string) error { c.within = false; return nil })
	return lines, c.within && c.wanted, err
}

// missing says what might be missing before the first file.
func (l logFiles) missing(r Request, begin part) string {
	if !l.removed || begin.all || len(l.files) == 0 {
		return ""
	}
	first := time.Time{}
	stop := errors.New("found")
	err := l.files[0].each(func(rec record) error { first = rec.time; return stop }, ignoreDamage)
	switch {
	case !errors.Is(err, stop):
		return "older output might be missing: its oldest file cannot be read"
	case !r.Since.IsZero() && !first.After(r.Since):
		return ""
	}
	return fmt.Sprintf("output before %s might be missing: a machine keeps the newest %d files of a task, of 10 MiB each", first.UTC().Format(time.RFC3339), keptFiles)
}

// each calls do with the records of a file, and damaged with a sentence for each place
// that is damaged.
func (f logFile) each(do func(record) error, damaged func(what string) error) error {
	content, err := f.reader()
	if err != nil {
		return damaged(fmt.Sprintf("%s cannot be read: %v", f.name, err))
	}
	all, inDamage := newRecords(content), false
	for {
		rec, err := all.next()
		switch {
		case err == nil:
			inDamage = false
			err = do(rec)
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errDamaged) && inDamage:
			err = nil // the same place
		case errors.Is(err, errDamaged):
			inDamage = true
			err = damaged(f.name + " is damaged")
		default:
			return damaged(fmt.Sprintf("%s cannot be read any further: %v", f.name, err))
		}
		if err != nil {
			return err
		}
	}
}
