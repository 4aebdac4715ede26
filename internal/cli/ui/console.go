// Package ui is what paictl writes: results as text or JSON, and operations
// while they run, as lines, as a live view, or as a stream of JSON. It decides
// nothing and must not call a cluster.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"pai.dev/pai/internal/pai"
)

// Console is where a command writes.
type Console struct {
	Out    io.Writer // results only
	Err    io.Writer // progress and errors
	Format string    // value of -o: json, or text
}

// CheckFormat returns a usage error if Format is neither text nor json.
func (c *Console) CheckFormat() error {
	if c.Format != "text" && c.Format != "json" && c.Format != "" {
		return pai.Errorf(pai.CodeUsage, "use -o text or -o json", "unknown output format %q", c.Format)
	}
	return nil
}

// JSON reports whether results are written as JSON.
func (c *Console) JSON() bool { return c.Format == "json" }

// Show writes a result to Out: data as indented JSON, or what text writes.
func (c *Console) Show(data any, text func(*Page)) error {
	if !c.JSON() {
		return Text(c.Out, text)
	}
	enc := json.NewEncoder(c.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(data)
}

// Progressf writes one line of progress to Err.
func (c *Console) Progressf(format string, args ...any) {
	fmt.Fprintf(c.Err, format+"\n", args...)
}

// Page is the text of a result. Cells of consecutive lines that end with a tab
// are aligned. It keeps the first error of its writes.
type Page struct {
	out *tabwriter.Writer
	err error
}

// Text writes what write puts on a page to out.
func Text(out io.Writer, write func(*Page)) error {
	p := &Page{out: tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)}
	write(p)
	if err := p.out.Flush(); p.err == nil {
		p.err = err
	}
	return p.err
}

// Linef writes one line.
func (p *Page) Linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}

// Row writes one row of a table; an empty cell is shown as -.
func (p *Page) Row(cells ...any) {
	line := ""
	for i, cell := range cells {
		if i > 0 {
			line += "\t"
		}
		line += OrDash(cell)
	}
	p.Linef("%s", line)
}

// Text writes text as it is.
func (p *Page) Text(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprint(p.out, text)
	}
}
