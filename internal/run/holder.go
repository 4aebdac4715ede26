package run

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// Holder describes the process that holds the lock: another operator can find
// it, and another process can determine whether it is alive.
type Holder struct {
	Token     string    `json:"token"` // one per acquisition
	User      string    `json:"user"`
	Host      string    `json:"host"`
	MachineID string    `json:"machineId,omitempty"`
	BootID    string    `json:"bootId"`
	PIDSpace  string    `json:"pidSpace"` // the PID namespace: a PID means nothing in another
	PID       int       `json:"pid"`
	Start     string    `json:"start"` // the process's start time, in the kernel's ticks since boot
	Version   string    `json:"version"`
	Verb      pai.Verb  `json:"verb"`
	Since     time.Time `json:"since"`
	Heartbeat time.Time `json:"heartbeat"`
	// Released is set when the holder releases the lock; the file stays, because
	// its number must not be used again.
	Released bool `json:"released,omitempty"`
	// Withdrawn is set, with Released, in the file of a process that did not get the lock of
	// several machines. Its number is used, but the holder below it counts.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// Electors are the machines that vote on the lock, if there are several. One of them
	// alone has no lock of the cluster.
	Electors []string `json:"electors,omitempty"`
	// Stale are the tokens of earlier holders that did not release the lock, and whose
	// commands might still run on machines.
	Stale []string `json:"stale,omitempty"`
	// Needs is the oldest release whose paictl can operate on the cluster; empty
	// if any can.
	Needs pai.Release `json:"-"`
}

func (h Holder) String() string {
	return fmt.Sprintf("%s@%s (process %d, paictl %s, %s, since %s)", h.User, h.Host, h.PID, h.Version, h.Verb, h.Since.Format(time.RFC3339))
}

// ThisProcess describes this process as a holder of the lock.
func ThisProcess(version string, verb pai.Verb) (Holder, error) {
	h := Holder{Token: rand.Text(), PID: os.Getpid(), Version: version, Verb: verb}
	host, err := os.Hostname()
	if err != nil {
		return Holder{}, fmt.Errorf("read host name: %w", err)
	}
	h.Host = host
	h.User = "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	if h.BootID, err = readLine("/proc/sys/kernel/random/boot_id"); err != nil {
		return Holder{}, fmt.Errorf("read boot ID: %w", err)
	}
	if h.PIDSpace, err = os.Readlink("/proc/self/ns/pid"); err != nil {
		return Holder{}, fmt.Errorf("read PID namespace: %w", err)
	}
	if h.Start, err = processStart(h.PID); err != nil {
		return Holder{}, fmt.Errorf("read process start time: %w", err)
	}
	if h.MachineID, err = readLine("/etc/machine-id"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Holder{}, fmt.Errorf("read machine ID: %w", err)
	}
	return h, nil
}

// BackupLimit bounds how long a scheduled backup holds the lock. An operation waits
// longer: for the end of what hangs, and for the release of the lock.
const (
	BackupLimit = 10 * time.Minute
	backupWait  = BackupLimit + 2*time.Minute
)

// worthWaiting is how long an operation waits for the holder to release the lock: a
// scheduled backup ends by itself.
func (h Holder) worthWaiting() time.Duration {
	if h.Verb != pai.VerbScheduledBackup {
		return 0
	}
	return backupWait
}

// liveness is what a process can determine about another one.
type liveness int

const (
	unknown liveness = iota // it runs on another host: only its heartbeat shows
	alive
	dead
)

// Liveness returns "alive" or "dead" if the other holder is a process of this
// host, and "" if only its heartbeat can show that.
func (h Holder) Liveness(other Holder) string {
	switch h.livenessOf(other, LeaseDuration) {
	case alive:
		return "alive"
	case dead:
		return "dead"
	default:
		return ""
	}
}

// livenessOf determines without waiting whether another holder is alive.
func (h Holder) livenessOf(other Holder, expiry time.Duration) liveness {
	if other.BootID != h.BootID {
		rebooted := h.MachineID != "" && other.MachineID == h.MachineID && other.Host == h.Host
		if rebooted && time.Since(other.Heartbeat) > expiry {
			return dead // this host was rebooted
		}
		return unknown
	}
	if other.PIDSpace != h.PIDSpace {
		return unknown
	}
	start, err := processStart(other.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dead
	case err != nil:
		return unknown
	case start == other.Start:
		return alive
	default:
		return dead // another process has its PID now
	}
}

// processStart returns the start time of a process, field 22 of stat in
// proc(5). The error is fs.ErrNotExist for a zombie, too.
func processStart(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the program name in parentheses; it can hold any character.
	end := strings.LastIndexByte(string(data), ')')
	fields := strings.Fields(string(data[end+1:]))
	const state, start = 0, 22 - 3
	if end < 0 || len(fields) <= start {
		return "", fmt.Errorf("cannot read /proc/%d/stat: %q", pid, data)
	}
	if s := fields[state]; s == "Z" || s == "X" {
		return "", fmt.Errorf("process %d has died: %w", pid, fs.ErrNotExist)
	}
	return fields[start], nil
}

func readLine(file string) (string, error) {
	data, err := os.ReadFile(file)
	return strings.TrimSpace(string(data)), err
}
