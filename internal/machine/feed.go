package machine

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// feedBuffer is the number of bytes that are read ahead, and so the size of a
// piece on a busy connection. Each piece costs one process on the machine. 2 MiB
// is also the window of ssh.
const feedBuffer = 2 << 20

// feed sends a script and its standard input in the format of remote.sh. It sends
// what it has while it reads ahead, so that it passes a slow input on at once,
// and a fast one in large pieces.
type feed struct {
	mu     sync.Mutex
	change *sync.Cond
	buf    []byte
	eof    bool
	dead   bool       // nothing more is sent
	failed chan error // receives the read error of the input
}

func newFeed(to io.WriteCloser, script string, stdin io.Reader) *feed {
	if script == "" {
		script = ":"
	}
	f := &feed{failed: make(chan error, 1)}
	f.change = sync.NewCond(&f.mu)
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	go f.read(io.MultiReader(strings.NewReader(script), stdin))
	go f.send(to)
	return f
}

func (f *feed) read(from io.Reader) {
	piece := make([]byte, 256<<10)
	for {
		n, err := from.Read(piece)
		f.mu.Lock()
		for len(f.buf) > 0 && len(f.buf)+n > feedBuffer && !f.dead {
			f.change.Wait()
		}
		f.buf = append(f.buf, piece[:n]...)
		f.eof = errors.Is(err, io.EOF)
		dead := f.dead
		f.change.Broadcast()
		f.mu.Unlock()
		switch {
		case f.eof || dead:
			return
		case err != nil:
			f.failed <- fmt.Errorf("read its input: %w", err)
			return
		}
	}
}

// stop closes the channel as soon as nothing is being written to it, without the
// mark for the end of the input.
func (f *feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
	f.change.Broadcast()
}

func (f *feed) send(to io.WriteCloser) {
	var piece []byte
	for {
		f.mu.Lock()
		for len(f.buf) == 0 && !f.eof && !f.dead {
			f.change.Wait()
		}
		stopped := f.dead
		f.buf, piece = piece[:0], f.buf
		f.change.Broadcast()
		f.mu.Unlock()
		if stopped {
			to.Close()
			return
		}

		_, err := fmt.Fprintf(to, "%d\n", len(piece))
		if err == nil && len(piece) > 0 {
			_, err = to.Write(piece)
		}
		if err != nil { // also ends the session
			f.stop()
			return
		}
		if len(piece) == 0 {
			f.wait()
			to.Close()
			return
		}
	}
}

// wait waits until the feed is stopped.
func (f *feed) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.dead {
		f.change.Wait()
	}
}
