package job

import "strings"

// launcher is the program of the container of every task; its arguments are the file
// with the script of the task and the one with its environment. As process 1 of the
// container it is the only one that receives SIGTERM, so it sends SIGTERM to all
// processes of its group. It then waits for the script to end within the grace period.
// Scripts are for bash, as those of the historical PAI, and for sh where the image has
// no bash.
const launcher = `trap 'exit 143' TERM
if [ -n "${2-}" ]; then . "$2"; fi
trap 'trap "" TERM; kill -TERM 0' TERM
shell=/bin/sh
if [ -x /bin/bash ]; then shell=/bin/bash; fi
"$shell" "$1" &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
exit "$code"`

const endOnTerm = "trap 'exit 143' TERM\n"

// taskScript is the script of a task of a role. A task that receives SIGTERM lets the
// current command end, starts no other, and never succeeds, even if that command
// does.
func taskScript(role TaskRole) string {
	commands := strings.Join(role.Commands, "\n") + "\n"
	if len(role.Before)+len(role.After) == 0 {
		return endOnTerm + commands
	}
	// Each step is a shell for itself, so that none changes or ends another.
	var b strings.Builder
	b.WriteString(endOnTerm)
	for _, s := range role.Before {
		b.WriteString(s.script())
	}
	b.WriteString("(\n" + endOnTerm + commands + ")" + endOnFailure)
	for _, s := range role.After {
		b.WriteString(s.script())
	}
	return b.String()
}

const endOnFailure = "\npai_code=$?\nif [ \"$pai_code\" -ne 0 ]; then exit \"$pai_code\"; fi\n"

// script is the step as a part of a script: it ends at its first failure, and the task
// with it.
func (s Step) script() string {
	commands := strings.Join(s.Commands, "\n") + "\n"
	if s.Ignore {
		return "(\n" + endOnTerm + commands + ")\n"
	}
	return "(\n" + endOnTerm + "set -e\n" + commands + ")" + endOnFailure
}

// literal prevents that Kubernetes expands $(NAME) and $$ in the command of a
// container: a dollar sign is for the shell.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }
