package job

import "strings"

// launcher is the program of the container of every task; its argument is the file
// with the script of the task. As process 1 of the container it is the only one that
// receives SIGTERM, so it sends SIGTERM to all processes of its group. It then
// waits for the script to end within the grace period.
const launcher = `trap 'trap "" TERM; kill -TERM 0' TERM
/bin/sh "$1" &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
exit "$code"`

// taskScript joins the commands of a role. A task that receives SIGTERM lets the
// current command end, starts no other, and never succeeds, even if that command
// does.
func taskScript(commands []string) string {
	return "trap 'exit 143' TERM\n" + strings.Join(commands, "\n") + "\n"
}

// literal prevents that Kubernetes expands $(NAME) and $$ in the command of a
// container: a dollar sign is for the shell.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }
