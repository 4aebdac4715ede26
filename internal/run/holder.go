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

// Holder says who holds the lock: everything that another operator needs to
// find him, and another process to see whether he lives.
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
	// Released is set by a holder that let go; the file stays as the last
	// generation.
	Released bool `json:"released,omitempty"`
}

func (h Holder) String() string {
	return fmt.Sprintf("%s@%s (process %d, paictl %s, %s, since %s)", h.User, h.Host, h.PID, h.Version, h.Verb, h.Since.Format(time.RFC3339))
}

// ThisProcess describes the process that asks for the lock.
func ThisProcess(version string, verb pai.Verb) (Holder, error) {
	h := Holder{Token: rand.Text(), PID: os.Getpid(), Version: version, Verb: verb}
	host, err := os.Hostname()
	if err != nil {
		return Holder{}, fmt.Errorf("find this host's name: %w", err)
	}
	h.Host = host
	h.User = "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	if h.BootID, err = readLine("/proc/sys/kernel/random/boot_id"); err != nil {
		return Holder{}, fmt.Errorf("find this host's boot id: %w", err)
	}
	if h.PIDSpace, err = os.Readlink("/proc/self/ns/pid"); err != nil {
		return Holder{}, fmt.Errorf("find this process's PID namespace: %w", err)
	}
	if h.Start, err = processStart(h.PID); err != nil {
		return Holder{}, fmt.Errorf("find this process's start time: %w", err)
	}
	if h.MachineID, err = readLine("/etc/machine-id"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Holder{}, fmt.Errorf("find this host's id: %w", err)
	}
	return h, nil
}

// health is what one process can tell of another holder.
type health int

const (
	unknown health = iota // it runs elsewhere: only its heartbeat tells
	alive
	dead
)

// Sees says in a word what can be told of another holder from here, without
// waiting: "alive" or "dead" where both are of one host, "" where its heartbeat
// alone would tell.
func (h Holder) Sees(other Holder) string {
	switch h.healthOf(other, defaultExpiry) {
	case alive:
		return "alive"
	case dead:
		return "dead"
	default:
		return ""
	}
}

// healthOf tells whether another holder lives, as far as that can be seen
// from here without waiting.
func (h Holder) healthOf(other Holder, expiry time.Duration) health {
	if other.BootID != h.BootID {
		rebooted := h.MachineID != "" && other.MachineID == h.MachineID && other.Host == h.Host
		if rebooted && time.Since(other.Heartbeat) > expiry {
			return dead // this host has started anew since
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

// processStart reads when a process started, from field 22 of proc(5)'s stat.
// A process that has died and was not waited for yet does not exist.
func processStart(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the program's name in parentheses, and may hold any character.
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
