package tasklog

import (
	"bufio"
	"time"
)

// lineFilter decides about lines by the time of their first part.
type lineFilter struct {
	since  time.Time
	within bool // the record before did not end its line
	wanted bool // the line of that record
}

// wants is to be called with every record.
func (f *lineFilter) wants(rec record) bool {
	if !f.within {
		f.wanted = !rec.time.Before(f.since)
	}
	f.within = !rec.ends
	return f.wanted
}

// printer writes the records of several files as output.
type printer struct {
	request Request
	out     *bufio.Writer
	filter  lineFilter
	skip    int64  // ends of lines that come before the output
	records int64  // how many records of the present file are written; 0 means all
	read    int64  // records of the present file
	inLine  bool   // the output ends within a line
	stamp   []byte // of the last record that was read
}

func (p *printer) print(f logFile) error {
	p.read = 0
	return f.each(p.record, func(what string) error {
		// What a caller has read before is not said again.
		if p.skip > 0 || !p.request.Since.IsZero() && !p.filter.wanted {
			return nil
		}
		if p.inLine {
			_ = p.out.WriteByte('\n') // the writer keeps its error
		}
		p.inLine, p.filter.within = false, false
		if p.request.Timestamps && len(p.stamp) > 0 {
			_, _ = p.out.Write(append(p.stamp, ' '))
		}
		_, err := p.out.WriteString(Notice("output is missing here: " + what))
		return err
	})
}

// Notice is a line of PAI in the output of a task.
func Notice(text string) string { return "[pai: " + text + "]\n" }

func (p *printer) record(rec record) error {
	p.read++
	p.stamp = append(p.stamp[:0], rec.stamp...)
	wanted := p.filter.wants(rec)
	switch {
	case !wanted || p.records > 0 && p.read > p.records:
		return nil
	case p.skip > 0:
		if rec.ends {
			p.skip--
		}
		return nil
	}
	if p.request.Timestamps && !p.inLine {
		_, _ = p.out.Write(rec.stamp) // the writer keeps its error
		_ = p.out.WriteByte(' ')
	}
	_, err := p.out.Write(rec.content)
	p.inLine = !rec.ends
	if rec.ends {
		err = p.out.WriteByte('\n')
	}
	return err
}
