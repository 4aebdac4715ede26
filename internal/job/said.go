package job

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSaid is how much of what others say a message has at most, in bytes.
const maxSaid = 500

// Clean is what others say, such as an event or the last words of a program, for a message of
// PAI: one line without characters that drive a terminal, of at most limit bytes. A program
// can say anything.
func Clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case !unicode.IsGraphic(r): // among them those that change the direction of a line
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= limit {
		return text
	}
	const more = "…"
	cut := max(limit-len(more), 0)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
