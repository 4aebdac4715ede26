package hostsfile

import (
	"bytes"

	"pai.dev/pai/internal/layout"
)

// Own are the lines of PAI in a text, each with its line feed. The text is that of
// /etc/hosts, or of the prepare script, which has the same lines.
func Own(text []byte) []byte {
	own, _ := split(text)
	return own
}

// split takes the lines of PAI out of a text. Every line ends in a line feed afterwards.
func split(text []byte) (own, others []byte) {
	for line := range bytes.Lines(text) {
		line = append(bytes.TrimSuffix(bytes.Clone(line), []byte("\n")), '\n')
		if bytes.HasSuffix(line, []byte(layout.HostsMark+"\n")) {
			own = append(own, line...)
		} else {
			others = append(others, line...)
		}
	}
	return own, others
}
