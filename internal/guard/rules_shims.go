package guard

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/pai"
)

// shownShims is how many shims a reason names.
const shownShims = 3

// shimsAnswer: a containerd that starts deletes each living container whose shim
// is not responding within the time limit of its configuration.
func shimsAnswer(f Facts) string {
	var names []string
	for _, s := range f.Shims.value {
		if s.Problem != "" {
			names = append(names, describeShim(s, f.Jobs.value)+": "+s.Problem)
		}
	}
	if len(names) == 0 {
		return ""
	}
	more := ""
	if len(names) > shownShims {
		more = fmt.Sprintf(", and %d more", len(names)-shownShims)
		names = names[:shownShims]
	}
	return "the next container runtime would end a container whose shim is not responding: " + strings.Join(names, ", ") + more
}

// describeShim names the container of a shim, its pod, and its job.
func describeShim(s inspect.Shim, jobs []pai.Job) string {
	name := "container " + s.ID
	switch {
	case s.Sandbox:
		name = "the sandbox"
	case s.Name != "":
		name = "container " + s.Name
	}
	if s.Pod == "" {
		return name
	}
	name += fmt.Sprintf(" of pod %s/%s", s.Namespace, s.Pod)
	for _, j := range jobs {
		for _, p := range j.Pods {
			if p.Namespace == s.Namespace && p.Name == s.Pod {
				return name + " of job " + j.String()
			}
		}
	}
	return name
}
