package scheduledbackup

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"pai.dev/pai/internal/backup"
)

// metricsText is the text format of Prometheus.
func metricsText(s backup.Status) string {
	var b strings.Builder
	metric := func(name, help string, value int64) {
		fmt.Fprintf(&b, "# HELP %[1]s %[2]s\n# TYPE %[1]s gauge\n%[1]s %[3]d\n", name, help, value)
	}
	if s.Success != nil {
		metric("pai_backup_last_success_timestamp_seconds", "When the last scheduled backup was complete.", s.Success.At.Unix())
		metric("pai_backup_size_bytes", "Size of the last scheduled backup.", s.Success.Size)
	}
	if s.Failure != nil {
		metric("pai_backup_last_failure_timestamp_seconds", "When a scheduled backup failed last.", s.Failure.At.Unix())
	}
	metric("pai_backup_interval_seconds", "The longest time from one scheduled backup to the next.", int64(s.Interval))
	return b.String()
}

// fallbackInterval is that of a calendar that systemd cannot explain.
const fallbackInterval = 24 * time.Hour

// interval is the longest time from one backup to the next, in seconds. Those of a
// calendar are found in its next dates.
func (m Machine) interval(ctx context.Context, s backup.Scheduled) int {
	if s.Every > 0 {
		return s.Every
	}
	out, err := m.Run(ctx, "env", "TZ=UTC", "LC_ALL=C", "systemd-analyze", "calendar", "--iterations=10", s.Calendar)
	if longest := longestGap(out); err == nil && longest > 0 {
		return int(longest.Seconds())
	}
	m.Log.Warn("systemd does not explain the calendar", "calendar", s.Calendar, "error", fmt.Sprint(err))
	return int(fallbackInterval.Seconds())
}

var elapse = regexp.MustCompile(`\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} UTC`)

// longestGap is the longest time between two dates in the output of systemd-analyze.
func longestGap(out string) (longest time.Duration) {
	var before time.Time
	for _, text := range elapse.FindAllString(out, -1) {
		at, err := time.Parse("2006-01-02 15:04:05 MST", text)
		if err != nil {
			continue
		}
		if !before.IsZero() {
			longest = max(longest, at.Sub(before))
		}
		before = at
	}
	return longest
}
