package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"k8s.io/apimachinery/pkg/util/duration"
)

// OrDash is a value as text, and - if that is empty.
func OrDash(value any) string {
	if text := fmt.Sprint(value); text != "" {
		return text
	}
	return "-"
}

// List joins names for a sentence; without names it is "nothing".
func List(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// FirstLine is text up to its first line break.
func FirstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// Size is a number of bytes in the unit that fits it, such as 21 MB.
func Size(bytes int64) string { return humanize.Bytes(uint64(max(0, bytes))) }

// Age is a duration with one or two units, such as 3d4h.
func Age(d time.Duration) string { return duration.HumanDuration(d) }

// Time is a local date and time; empty for the zero time.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// clock is a duration as minutes and seconds.
func clock(d time.Duration) string {
	d = d.Round(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
