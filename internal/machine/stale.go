package machine

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/fence"
)

// marked is the name of a command in the process list of a machine. A command that needs
// the lock of the cluster also has the token of the lock.
func marked(ctx context.Context, mark string) string {
	if token := fence.Token(ctx); token != "" {
		return mark + "-" + token
	}
	return mark
}

// EndStale ends the commands on a machine that were started with a lock of the cluster
// that another process has taken over. sshd does not notice for hours that the host of
// their paictl is lost, and they would run to their end beside the new operation.
func EndStale(ctx context.Context, h Host, token string) error {
	if token == "" {
		return nil
	}
	// The brackets keep grep from finding its own command line. Its exit code is no answer:
	// it is 2 when any process has ended meanwhile.
	script := fmt.Sprintf(`
n=0
while found=$(grep -lsa -e '-[%s]%s' /proc/[0-9]*/cmdline || :) && [ -n "$found" ]; do
    [ "$n" -lt 50 ] || { echo "still running:" $found >&2; exit 1; }
    for p in $found; do
        p=${p#/proc/}
        kill -s TERM "${p%%/cmdline}" 2>/dev/null || :
    done
    n=$((n + 1))
    sleep 0.2
done`, token[:1], token[1:])
	if _, err := h.Run(ctx, Command{Script: script}); err != nil {
		return fmt.Errorf("end the commands of the previous holder of the lock: %w", err)
	}
	return nil
}
