package machine

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"pai.dev/pai/internal/fence"
)

// isToken matches the token of a lock, which crypto/rand.Text makes. It is read from a
// file of a machine, and becomes part of a script.
var isToken = regexp.MustCompile(`^[A-Za-z0-9]{8,64}$`)

// marked is the name of a command in the process list of a machine. A command that needs
// the lock of the cluster also has the token of the lock.
func marked(ctx context.Context, mark string) string {
	if token := fence.Token(ctx); token != "" {
		return mark + "-" + token
	}
	return mark
}

// staleLimit is the time for stale commands to end. A sync on a disk that others write to
// took more than 10 s.
const staleLimit = time.Minute

// EndStale ends the commands on a machine that were started with locks of the cluster
// that other processes have taken over, by the tokens of these locks. sshd does not notice
// for hours that the host of their paictl is lost, and they would run to their end beside
// the new operation.
func EndStale(ctx context.Context, h Host, tokens []string) error {
	var patterns strings.Builder
	for _, token := range tokens {
		if !isToken.MatchString(token) { // no command has it
			continue
		}
		// The brackets keep grep from finding its own command line.
		fmt.Fprintf(&patterns, " -e '-[%s]%s'", token[:1], token[1:])
	}
	if patterns.Len() == 0 {
		return nil
	}
	// The exit code of grep is no answer: it is 2 when any process has ended meanwhile. A
	// killed program ends only when the kernel has completed its write to a disk.
	script := fmt.Sprintf(`
n=0
while found=$(grep -lsa%s /proc/[0-9]*/cmdline || :) && [ -n "$found" ]; do
    [ "$n" -lt %d ] || {
        echo "these processes do not end:" $(printf '%%s\n' "$found" | tr -cd '0-9\n') >&2
        echo "these wait for a disk:" $(grep -hs '^[0-9]* (.*) D ' /proc/[0-9]*/stat | sed 's/ D .*//') >&2
        exit 1
    }
    for p in $found; do
        p=${p#/proc/}
        kill -s TERM "${p%%/cmdline}" 2>/dev/null || :
    done
    n=$((n + 1))
    sleep 0.2
done`, patterns.String(), int(staleLimit/(200*time.Millisecond)))
	if _, err := h.Run(ctx, Command{Script: script}); err != nil {
		return fmt.Errorf("end the commands of earlier holders of the lock on %q: %w", h.Name(), err)
	}
	return nil
}
