package ui

import (
	"io"
	"unicode/utf8"
)

// Terminal writes what a program of a user wrote to the terminal of an operator. Text, tabs, the
// ends of lines, and colors pass; every other control character is shown instead of sent, because
// it can move the cursor, change the title, or make the terminal type a command.
type Terminal struct {
	out    io.Writer
	rest   []byte // the beginning of a character or a sequence
	colors bool   // a color was set
}

// NewTerminal returns a Terminal that writes to out. Its Close does not close out.
func NewTerminal(out io.Writer) *Terminal { return &Terminal{out: out} }

// maxColors bounds the bytes of a sequence of colors.
const maxColors = 64

const escape = 0x1b

// Write implements io.Writer. It holds a sequence back until its end is there.
func (t *Terminal) Write(p []byte) (int, error) {
	data := append(t.rest, p...)
	safe, used := t.shown(data, false)
	t.rest = append([]byte(nil), data[used:]...)
	if _, err := t.out.Write(safe); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back, and ends colors.
func (t *Terminal) Close() error {
	safe, _ := t.shown(t.rest, true)
	t.rest = nil
	if t.colors {
		safe = append(safe, "\x1b[0m"...)
	}
	_, err := t.out.Write(safe)
	return err
}

// shown returns what the terminal gets of data, and how many bytes of data that is. At the end
// of all data it is all of them.
func (t *Terminal) shown(data []byte, end bool) (safe []byte, used int) {
	for used < len(data) {
		n := 1
		switch b := data[used]; {
		case b == escape:
			var known bool
			n, known = colorsAt(data[used:])
			if !known && !end {
				return safe, used
			}
			if n > 0 && known {
				t.colors = true
				safe = append(safe, data[used:used+n]...)
			} else {
				n = 1
				safe = append(safe, "^["...)
			}
		case b == '\n' || b == '\t' || b == '\r' || b >= 0x20 && b < 0x7f:
			safe = append(safe, b)
		case b < 0x20 || b == 0x7f:
			safe = append(safe, '^', b^0x40)
		case !utf8.FullRune(data[used:]) && !end:
			return safe, used
		default:
			var r rune
			if r, n = utf8.DecodeRune(data[used:]); r < 0xa0 { // control characters of 8 bits
				r = utf8.RuneError
			}
			safe = utf8.AppendRune(safe, r)
		}
		used += n
	}
	return safe, used
}

// colorsAt returns the length of the sequence that sets colors (ESC [ numbers m) at the
// beginning of data, 0 if it is another one; known is false if its end is missing.
func colorsAt(data []byte) (n int, known bool) {
	for i := 1; i < len(data) && i < maxColors; i++ {
		switch b := data[i]; {
		case i == 1 && b == '[':
		case i > 1 && (b >= '0' && b <= '9' || b == ';' || b == ':'):
		case i > 1 && b == 'm':
			return i + 1, true
		default:
			return 0, true
		}
	}
	return 0, len(data) >= maxColors
}
