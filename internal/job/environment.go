package job

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// rendezvous is the shell that gives a task the addresses of all tasks of its job, and
// runs what plugins put beside it.
//
//go:embed rendezvous.sh
var rendezvous string

const (
	// addressTimeout is how long a task waits until all tasks have addresses: a pod has
	// one as soon as it has a machine, before its image is there.
	addressTimeout = 10 * time.Minute
	// maxLookups is how many tasks a job can have for each to look up all others. Above
	// it, each looks up the first task of each role, and has the names of the others: the
	// number of lookups grows with the square of that of tasks.
	maxLookups = 128
)

// addresses is the file that the launcher reads before it starts the commands.
func (j *Spec) addresses(object string) string {
	var b strings.Builder
	b.WriteString(rendezvous)
	set := func(name, value string) { b.WriteString(name + "=" + quote(value) + "\n") }
	set("pai_subdomain", object)
	wait, all := 0, ""
	if j.meets() {
		wait = int(addressTimeout / time.Second)
	}
	if j.tasks() <= maxLookups {
		all = "yes"
	}
	set("pai_left", strconv.Itoa(wait))
	set("pai_all", all)
	if j.SSH != nil {
		set("pai_with_ssh", "yes")
	}
	b.WriteString("pai_begin\n")
	for _, role := range j.TaskRoles {
		fmt.Fprintf(&b, "pai_role %s %s-%s-0 %d", role.Name, object, roleObject(role.Name), role.Instances)
		for _, p := range role.Ports {
			b.WriteString(" " + p.Name + "=" + p.list())
		}
		b.WriteString("\n")
	}
	b.WriteString("pai_end\n")
	for _, role := range j.TaskRoles {
		fmt.Fprintf(&b, "export PAI_RESOURCE_%s=%s\n", role.Name, quote(fmt.Sprintf("%d,%s,%d,%d", role.GPU, cores(role.CPUMilli), role.MemoryMB, role.ShmMB)))
	}
	if s := j.SSH; s != nil {
		set("pai_ssh_keys", strings.Join(append(s.Keys, publicLines(j.SSHKey.Public)...), "\n"))
		set("pai_ssh_key", sshKeyFile(s))
		set("pai_ssh_seconds", strconv.Itoa(int(s.Barrier/time.Second)))
		b.WriteString(inRoles(s.Roles, "pai_ssh"))
	}
	if t := j.TensorBoard; t != nil {
		set("pai_tensorboard_port", strconv.Itoa(t.Port))
		set("pai_tensorboard_logs", strings.Join(t.Logs, ","))
		b.WriteString(`if [ "$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX" = 0 ]; then ` + strings.TrimSpace(inRoles([]string{j.TaskRoles[0].Name}, "pai_tensorboard")) + "; fi\n")
	}
	return b.String()
}

// inRoles runs a function in the tasks of some roles; no names are all of them.
func inRoles(names []string, function string) string {
	if len(names) == 0 {
		return function + "\n"
	}
	return "case $PAI_CURRENT_TASK_ROLE_NAME in " + strings.Join(names, "|") + ") " + function + ";; esac\n"
}

func publicLines(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return []string{text}
}

func sshKeyFile(s *SSH) string {
	if !s.Job {
		return ""
	}
	return secretDir + "/" + keySSH
}

// meets reports whether the tasks of a job wait until all of them have addresses: if
// there are several, and their commands use them.
func (j *Spec) meets() bool {
	if !j.Gang || j.tasks() < 2 {
		return false
	}
	for _, role := range j.TaskRoles {
		script := taskScript(role)
		if role.reserves() || strings.Contains(script, "PAI_HOST_IP_") || strings.Contains(script, "PAI_PORT_LIST_") || strings.Contains(script, "_HOST_LIST") {
			return true
		}
	}
	return false
}

// environmentSize is what the variables of the addresses and ports come to in each
// program of a task, and longest is the size of the longest of them.
func (j *Spec) environmentSize() (total, longest int) {
	const overhead, address, index = 16, 120, 4 // of a variable; of a name of a pod; digits
	instances := 0
	for _, role := range j.TaskRoles {
		each := len("PAI_HOST_IP_") + len(role.Name) + index + address + overhead
		for _, p := range role.Ports {
			value := len("20000,") * p.Count
			each += len("PAI_PORT_LIST_") + len("PAI_") + len("_PORT") + 2*(len(role.Name)+len(p.Name)+index+value+overhead)
		}
		list := role.Instances * (address + len(":20000,"))
		total += role.Instances*each + list
		longest = max(longest, list)
		instances += role.Instances * (len(role.Name) + index + 2)
	}
	return total + instances, max(longest, instances)
}

// checkEnvironment returns Problems if no program could be started with the variables.
func (j *Spec) checkEnvironment() error {
	total, longest := j.environmentSize()
	if total > MaxEnvironment || longest > MaxScript {
		return Problems{{Path: "taskRoles", Message: fmt.Sprintf(
			"the addresses and ports of %d tasks come to %s in the environment of each, the longest variable to %s; the limits are %s and %s: use fewer instances, fewer ports, or shorter names",
			j.tasks(), megabytes(total), megabytes(longest), megabytes(MaxEnvironment), megabytes(MaxScript))}}
	}
	return nil
}

// cores is a number of cores without needless digits.
func cores(milli int64) string { return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64) }
