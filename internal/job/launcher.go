package job

import "strings"

// launcher is the program of every task's container; its argument is the
// task's script. As process 1 of the container it is the only one that is told
// to stop, so it passes SIGTERM on to all processes of its group, and waits
// for the script to end by itself within the grace period.
const launcher = `trap 'trap "" TERM; kill -TERM 0' TERM
/bin/sh -c "$1" task &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
exit "$code"`

// taskScript joins a role's commands. A task that was told to stop lets the
// command that runs come to its end, starts no other, and never counts as
// succeeded, even when that command ended well.
func taskScript(commands []string) string {
	return "trap 'exit 143' TERM\n" + strings.Join(commands, "\n") + "\n"
}

// literal keeps Kubernetes from expanding $(NAME) and $$ in a container's
// command: a dollar sign is for the shell.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }
