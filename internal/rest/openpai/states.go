package openpai

import (
	"crypto/md5" //nolint:gosec // OpenPAI's name of a job, for debugging
	"encoding/hex"
	"strings"
	"time"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// The exit codes of OpenPAI for a job that a user stopped, and for one whose tasks have
// no exit code.
const (
	exitStopped = -210
	exitUnknown = -8000
)

// subState is the state of OpenPAI's framework controller for a state of a job, or of one
// of its tasks. A job that left the cluster has ended, also if no one saw how.
func subState(s job.State, ended time.Time) string {
	if s == job.StateUnknown && !ended.IsZero() {
		return "Completed"
	}
	switch s {
	case job.StateWaiting, job.StateUnknown:
		return "AttemptPreparing"
	case job.StateRunning:
		return "AttemptRunning"
	case job.StateStopping:
		return "AttemptDeleting"
	default:
		return "Completed"
	}
}

func executionType(stopAsked bool) string {
	if stopAsked {
		return "STOP"
	}
	return "START"
}

// exitCode is that of a job that has ended; nil before.
func exitCode(s history.Summary) *int {
	switch s.State {
	case job.StateSucceeded:
		return new(0)
	case job.StateStopped:
		return new(exitStopped)
	case job.StateFailed:
		if s.ExitCode != nil {
			return s.ExitCode
		}
		return new(exitUnknown)
	default:
		return nil
	}
}

// millis is a time as OpenPAI writes it; nil if it is unknown.
func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

// RoleKey is how OpenPAI writes the name of a task role in paths and keys.
func RoleKey(role string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(role))
}

func debugID(s pai.JobRef) string {
	sum := md5.Sum([]byte(s.User + "~" + s.Name)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

func user(s pai.JobRef) string {
	if s.User == "" {
		return "unknown"
	}
	return s.User
}

// listOf is a list that is never null in JSON.
func listOf(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}
