package scheduledbackup

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
)

// shortestToken is shorter than the token of any lock. A command line can have anything.
const shortestToken = 8

// commandOf is the ID of a process of this machine that paictl started with a lock that it
// has lost; empty if there is none. The next operation ends such commands on every
// machine. A backup only waits for their end. What runs on other machines changes no etcd.
func (m Machine) commandOf(tokens []string) string {
	tokens = slices.DeleteFunc(tokens, func(t string) bool { return len(t) < shortestToken })
	if len(tokens) == 0 {
		return ""
	}
	files, _ := filepath.Glob(m.at("/proc/[0-9]*/cmdline")) // the pattern is one
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && slices.ContainsFunc(tokens, func(t string) bool { return bytes.Contains(line, []byte("-"+t)) }) {
			return filepath.Base(filepath.Dir(file))
		}
	}
	return ""
}
