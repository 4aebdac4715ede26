package ui

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// View shows an operation while it runs. Event and Witness are each called
// one at a time, but from different goroutines.
type View interface {
	// Plan shows what will be done.
	Plan(data any, text func(*Page)) error
	Event(e run.Event)
	Witness(w operation.WitnessStatus)
	// Record shows how the operation ended.
	Record(op pai.Operation) error
	// Close removes what is redrawn in place. It can be called more than once.
	Close()
}

// NewView returns the view for a console: a stream of JSON for -o json, a view
// that is redrawn in place on a terminal, else lines.
func NewView(c *Console) View {
	switch s := screenOf(c); {
	case c.JSON():
		return &stream{console: c}
	case s != nil:
		return newLive(c, s, time.Now)
	default:
		return newProgress(c)
	}
}

// terminalSize returns the size of the terminal that w is. ok is false if w is
// no terminal, or one that cannot move its cursor.
func terminalSize(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return width, height, err == nil && width > 0 && height > 0
}
