package ui

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Restored returns a line about a restore of etcd, and one for each job whose record
// it changed.
func Restored(r pai.Restore) (lines []string) {
	from := "snapshot"
	if r.Backup {
		from = "backup"
	}
	did := "restored etcd from " + from
	if r.Done.IsZero() {
		did = "started to restore etcd from " + from
	}
	taken := ""
	if !r.Taken.IsZero() {
		taken = ", taken " + Time(r.Taken)
	}
	lines = append(lines, fmt.Sprintf("%s %s%s", did, r.Snapshot, taken))
	if r.Unknown != "" {
		lines = append(lines, "RECORDS       unknown which jobs were changed: "+r.Unknown)
	}
	switch {
	case r.TokensEnded:
		lines = append(lines, "TOKENS        all have ended, so that none is valid again that was revoked since; for one of yours, run: paictl service start")
	case r.Backup || r.Unknown != "":
		lines = append(lines, "TOKENS        those that were revoked since might be valid again; to see all, run: paictl user token list")
	}
	for _, j := range r.Jobs {
		lines = append(lines, restoredJob(j))
	}
	return lines
}

// reportRestored writes what a restore of etcd did to the records of jobs.
func reportRestored(p *Page, op pai.Operation) {
	if op.Restored == nil {
		return
	}
	for _, line := range Restored(*op.Restored) {
		p.Linef("  %s", line)
	}
}

// restoredJob is what happened to one job, as one line.
func restoredJob(j pai.RestoredJob) string {
	title, record := "RECORD LOST", "submitted after the snapshot"
	switch j.Record {
	case pai.RecordLost:
	case pai.RecordEarlier:
		title, record = "RECORD EARLIER", "again "+j.Restored+", as in the snapshot"
	case pai.RecordKept:
		title, record = "record kept", "ended after the snapshot, does not run again"
	case pai.RecordRemoved:
		title, record = "record removed", "removed after the snapshot, does not run again"
	case pai.RecordHeld:
		title, record = "RECORD HELD", "it was "+j.Restored+" and is marked as stopped, because its containers no longer exist; to run it again, submit it again"
	case pai.RecordSeen:
		title, record = "RECORD LOST", "neither in the snapshot nor in the cluster; operation "+j.SeenBy+" saw it"
	}
	parts := []string{record}
	if text := containers(j); text != "" {
		parts = append(parts, text)
	}
	if j.RunsAgain != "" {
		parts = append(parts, "CAN RUN AGAIN: "+j.RunsAgain)
	}
	about := []string{"job " + j.Job}
	if j.State != "" {
		about = append(about, "last state "+j.State)
	}
	if !j.Submitted.IsZero() {
		about = append(about, "submitted "+Time(j.Submitted))
	}
	if !j.Ended.IsZero() {
		about = append(about, "ended "+Time(j.Ended))
	}
	return fmt.Sprintf("%-13s %s: %s", title, strings.Join(about, ", "), strings.Join(parts, "; "))
}

func containers(j pai.RestoredJob) string {
	switch j.Containers {
	case pai.ContainersEnded:
		return "its containers ended before"
	case pai.ContainersDeleted:
		return fmt.Sprintf("%d containers deleted", len(j.Ran))
	case pai.ContainersOrphan:
		return "CONTAINERS STILL RUN without a record, on " + machines(j)
	case pai.ContainersUnknown:
		return strings.TrimSuffix("containers unknown, on "+machines(j), ", on ")
	case pai.ContainersNone:
	}
	return ""
}

func machines(j pai.RestoredJob) string {
	var names []string
	seen := map[string]bool{}
	for _, c := range j.Ran {
		if !seen[c.Machine] {
			seen[c.Machine] = true
			names = append(names, c.Machine)
		}
	}
	return strings.Join(names, ", ")
}
