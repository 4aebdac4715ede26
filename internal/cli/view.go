package cli

import (
	"io"
	"os"

	"golang.org/x/term"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/upgrade"
)

// view is how an operation is shown while it goes on: redrawn in place on a
// terminal, as lines elsewhere, as a stream of JSON with -o json. event and
// watching are called one at a time each, and from different goroutines.
type view interface {
	event(e run.Event)
	watching(w upgrade.Watching)
	// record shows how the operation ended.
	record(op pai.Operation) error
	// close ends what is redrawn. It may be called more than once.
	close()
}

func newView(env *Env) view {
	switch s := screenOf(env); {
	case env.JSON():
		return newStream(env)
	case s != nil:
		return newLive(env, s)
	default:
		return newProgress(env)
	}
}

// terminalSize is the size of the terminal that w is; false where it is none,
// or one that cannot move its cursor.
func terminalSize(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return width, height, err == nil && width > 0 && height > 0
}
