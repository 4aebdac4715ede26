package pai

import (
	"maps"
	"slices"
)

// taskCapabilities are the capabilities of Linux that the container of every task
// has, each with the reason. Every other capability is dropped.
var taskCapabilities = map[string]string{
	"CHOWN":        "package managers and tar give files to their owners",
	"DAC_OVERRIDE": "root of an image writes to files of other users, such as mounted datasets",
	"FOWNER":       "package managers and tar set modes and times of files of other users",
	"KILL":         "a supervisor ends processes that it started as other users",
	"SETGID":       "apt, sshd, and supervisors become another group",
	"SETUID":       "apt, sshd, and supervisors become another user",
	"SYS_CHROOT":   "sshd, which MPI starts processes through, confines its network part",
}

// grantable are the capabilities that an operator can grant to the tasks of a
// virtual cluster, each with its use. All others, such as SYS_ADMIN and SYS_MODULE,
// give a task the machine. True marks what the Pod Security level "baseline" allows.
var grantable = map[string]bool{
	"AUDIT_WRITE":      true,  // login programs write audit records
	"FSETID":           true,  // keep set-group-ID bits of changed files
	"IPC_LOCK":         false, // RDMA locks memory
	"MKNOD":            true,  // images that unpack device files
	"NET_ADMIN":        false, // routes and interfaces of the pod
	"NET_BIND_SERVICE": true,  // ports below 1024
	"NET_RAW":          false, // raw sockets, such as packet captures
	"PERFMON":          false, // profilers
	"SETFCAP":          true,  // images that unpack file capabilities
	"SETPCAP":          true,  // programs that drop capabilities
	"SYS_NICE":         false, // NUMA placement and priorities
	"SYS_PTRACE":       false, // debuggers of other users' processes
	"SYS_RESOURCE":     false, // raise resource limits
}

// TaskCapabilities returns the capabilities of every task, sorted.
func TaskCapabilities() []string { return slices.Sorted(maps.Keys(taskCapabilities)) }

// GrantableCapabilities returns the capabilities that an operator can grant to the
// tasks of a virtual cluster, sorted.
func GrantableCapabilities() []string { return slices.Sorted(maps.Keys(grantable)) }

// InBaseline reports whether the Pod Security level "baseline" allows all of these
// grantable capabilities.
func InBaseline(capabilities []string) bool {
	return !slices.ContainsFunc(capabilities, func(c string) bool { return !grantable[c] })
}
