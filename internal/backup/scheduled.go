package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Scheduled are the settings of backups that a control-plane machine makes without an
// operator.
type Scheduled struct {
	ClusterID string `json:"clusterId"`
	Machine   string `json:"machine"`
	// To is the directory on the machine, or s3://BUCKET/PREFIX.
	To string `json:"to"`
	// S3 says how the bucket is reached; nil with a directory.
	S3         *S3      `json:"s3,omitempty"`
	Keep       int      `json:"keep"`
	Recipients []string `json:"recipients"`
	// Every is the time from one backup to the next, in seconds; or it is 0, and
	// Calendar says when they are made, as systemd writes it.
	Every    int    `json:"every,omitempty"`
	Calendar string `json:"calendar,omitempty"`
}

// S3 says how the bucket of a target is reached. It has no secret.
type S3 struct {
	// Endpoint is the URL of the server; empty for that of AWS in the region.
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"` // default us-east-1
	// CredentialsFile is the file with the key, as the AWS command line reads it.
	CredentialsFile string `json:"credentialsFile,omitempty"`
	// CAFile has the certificates that the server is trusted by; empty for those of the
	// operating system.
	CAFile string `json:"caFile,omitempty"`
}

// ReadScheduled reads settings. It refuses those that it does not know.
func ReadScheduled(data []byte) (Scheduled, error) {
	var s Scheduled
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("read the settings of scheduled backups: %w", err)
	}
	return s, nil
}

// When says when backups are made.
func (s Scheduled) When() string {
	if s.Calendar != "" {
		return "at " + s.Calendar
	}
	return "every " + (time.Duration(s.Every) * time.Second).String()
}

// Status is the result of scheduled backups on a machine.
type Status struct {
	Success *Success `json:"success,omitempty"` // the last one
	// Failure is the last attempt, if it failed.
	Failure *Failure `json:"failure,omitempty"`
	// Interval is the longest time from one backup to the next, in seconds.
	Interval int `json:"interval"`
}

// Success is a backup that was made.
type Success struct {
	At      time.Time `json:"at"`
	Name    string    `json:"name"`
	To      string    `json:"to"`
	Size    int64     `json:"size"`
	Seconds float64   `json:"seconds"` // it took
}

// Failure is a backup that was not made.
type Failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// Failed reports whether the last attempt failed. It compares no times: the clock of the
// machine can have been wrong.
func (s Status) Failed() bool { return s.Failure != nil }

// tolerance is how long an operation can delay a backup, and how much the clocks of two
// hosts can differ.
const tolerance = time.Hour

// Old reports whether the newest backup is older than one that was missed, or has a time
// in the future, which says nothing about its age.
func (s Status) Old(now time.Time) bool {
	return s.Success != nil && (now.Sub(s.Success.At) > 2*time.Duration(s.Interval)*time.Second+tolerance || s.fromFuture(now))
}

func (s Status) fromFuture(now time.Time) bool { return s.Success.At.Sub(now) > tolerance }

// Describe says how old the newest backup is, and why there is no newer one.
func (s Status) Describe(now time.Time) string {
	newest := "no backup was made yet"
	switch {
	case s.Success == nil:
	case s.fromFuture(now):
		newest = "the newest backup has a time in the future, " + s.Success.At.Format(time.RFC3339)
	default:
		newest = "the newest backup is " + howOld(now, s.Success.At) + " old"
	}
	if !s.Failed() {
		return newest
	}
	return fmt.Sprintf("%s; the last attempt failed %s ago: %s", newest, howOld(now, s.Failure.At), s.Failure.Error)
}

func howOld(now, at time.Time) string {
	d := now.Sub(at)
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return max(d, 0).Round(time.Minute).String()
}
