package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// screen is standard error on a terminal: text goes by as ever, and below it
// stay a few lines that are redrawn in place. Everything that writes to
// standard error goes through it, so that nothing is torn.
type screen struct {
	out  io.Writer
	size func() (width, height int, ok bool)

	mu    sync.Mutex
	frame []string
	drawn int    // how many lines of the frame are on the terminal
	line  []byte // text that has not ended yet, while there is a frame
}

// screenOf makes standard error a screen, once; nil where it is no terminal.
func screenOf(env *Env) *screen {
	if s, is := env.Err.(*screen); is {
		return s
	}
	out := env.Err
	if _, _, ok := terminalSize(out); !ok || env.JSON() {
		return nil
	}
	s := &screen{out: out, size: func() (int, int, bool) { return terminalSize(out) }}
	env.Err = s
	return s
}

// Write lets text go by above the frame.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame == nil {
		return s.out.Write(p)
	}
	s.line = append(s.line, p...)
	end := bytes.LastIndexByte(s.line, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	text := string(s.line[:end])
	s.line = append([]byte(nil), s.line[end:]...)
	return len(p), s.put(text)
}

// show replaces the frame; none takes it away.
func (s *screen) show(frame []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame = frame
	text := ""
	if frame == nil {
		text, s.line = string(s.line), nil
	}
	_ = s.put(text) // a terminal that is gone is nobody's loss
}

// put writes text where the frame was, and the frame below it, in one write.
func (s *screen) put(text string) error {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.drawn)
	}
	b.WriteString(text)
	s.drawn = 0
	width, height, ok := s.size()
	if ok {
		for _, line := range s.fitting(height) {
			b.WriteString(clip(line, width-1) + "\n")
			s.drawn++
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

// fitting is the frame, or as much of its end as fits: what has scrolled off
// could not be redrawn.
func (s *screen) fitting(height int) []string {
	if most := max(1, height-1); len(s.frame) > most {
		return s.frame[len(s.frame)-most:]
	}
	return s.frame
}

// clip keeps a line within a width, so that it takes one line of the terminal.
func clip(line string, width int) string {
	if r := []rune(line); len(r) > width {
		return string(r[:max(0, width-1)]) + "…"
	}
	return line
}
