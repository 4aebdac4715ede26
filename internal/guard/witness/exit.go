package witness

import (
	"fmt"
	"slices"
)

// exitStatus is how the process of a container exited.
type exitStatus struct {
	code, signal int
	reason       string // the runtime's: Error, OOMKilled, Unknown
	limited      bool   // the container has a memory limit
}

// own reports whether only the process itself can have ended that way: with an
// exit code from 1 to 127, with a signal that a process causes by its own
// fault, or by its own memory limit. A kill from outside looks like 137 or 143, and
// 255 is also what the runtime reports when it does not know.
func (e exitStatus) own() bool {
	switch {
	case e.reason == reasonOOM:
		return e.limited
	case e.reason == "Unknown" || e.reason == "ContainerStatusUnknown":
		return false
	case e.died() != 0:
		return slices.Contains(faultSignals(), e.died())
	default:
		return e.code >= 1 && e.code <= 127
	}
}

// reasonOOM is the reason of the runtime after the kernel killed for memory.
const reasonOOM = "OOMKilled"

// faultSignals are SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSEGV and SIGSYS. Neither a
// kubelet nor a runtime sends one of them.
func faultSignals() []int { return []int{4, 5, 6, 8, 11, 31} }

// died returns the signal that ended the process; zero if it exited.
func (e exitStatus) died() int {
	if e.signal == 0 && e.code > 128 && e.code <= 128+64 {
		return e.code - 128 // as a shell and the runtime report it
	}
	return e.signal
}

// killedFromOutside reports whether the process died of SIGKILL or SIGTERM that
// its own memory limit does not explain.
func (e exitStatus) killedFromOutside() bool {
	return e.reason != reasonOOM && (e.died() == 9 || e.died() == 15)
}

// String says how the process exited.
func (e exitStatus) String() string {
	text := fmt.Sprintf("exit code %d", e.code)
	if e.signal != 0 {
		text = fmt.Sprintf("signal %d, %s", e.signal, text)
	}
	if e.reason != "" {
		text += ", " + e.reason
	}
	if e.reason == reasonOOM {
		text += map[bool]string{true: ", within its own memory limit", false: ", and it has no memory limit"}[e.limited]
	}
	return text
}
