package ui

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// screen is standard error on a terminal: text scrolls by, and below it stay a
// few lines, the frame, that are redrawn in place. All writes to standard error
// go through it, so that the frame stays intact.
type screen struct {
	out  io.Writer
	size func() (width, height int, ok bool)

	mu    sync.Mutex
	frame []string
	drawn int    // number of lines of the frame that are on the terminal
	line  []byte // text without its line break so far, while there is a frame
}

// screenOf makes standard error a screen, once. It returns nil if standard
// error is not a terminal.
func screenOf(c *Console) *screen {
	if s, is := c.Err.(*screen); is {
		return s
	}
	out := c.Err
	if _, _, ok := terminalSize(out); !ok || c.JSON() {
		return nil
	}
	s := &screen{out: out, size: func() (int, int, bool) { return terminalSize(out) }}
	c.Err = s
	return s
}

// Write puts text above the frame.
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

// show replaces the frame; nil removes it.
func (s *screen) show(frame []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame = frame
	text := ""
	if frame == nil {
		text, s.line = string(s.line), nil
	}
	_ = s.put(text) // if the terminal was closed, there is no place to report it
}

// put writes text in place of the frame, and the frame below it, in one write.
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

// fitting is the end of the frame that fits on the terminal: lines that
// scrolled off cannot be redrawn.
func (s *screen) fitting(height int) []string {
	return s.frame[max(0, len(s.frame)-max(1, height-1)):]
}

// clip cuts a line so that it takes one line of the terminal.
func clip(line string, width int) string {
	if r := []rune(line); len(r) > width {
		return string(r[:max(0, width-1)]) + "…"
	}
	return line
}
