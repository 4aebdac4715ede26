package config

import (
	"path"
	"regexp"
	"strings"
	"time"

	"filippo.io/age"

	"pai.dev/pai/internal/layout"
)

// The limits of kubernetes.backup.every.
const (
	shortestBackup = time.Minute
	longestBackup  = 31 * 24 * time.Hour
)

// backupKeys is kubernetes.backup.
func backupKeys() key {
	recipient := key{shape: text, format: recipients()}
	return key{
		name: "backup", shape: object, def: "none", jobs: jobsNone,
		meaning: "backups of the control plane that its machine makes without an operator; see [operating.md](operating.md#backups-without-an-operator); a `paictl` before v0.11 refuses the key",
		keys: []key{
			{
				name: "to", shape: text, required: true, format: backupTargets(), jobs: jobsNone,
				meaning: "directory on the control-plane machine, usually a mounted network share, or a bucket of an S3 server",
			},
			backupS3Keys(),
			{name: "every", shape: text, format: durations(shortestBackup, longestBackup), def: "none", jobs: jobsNone, meaning: "time from one backup to the next, such as `6h`; this or `calendar`"},
			{name: "calendar", shape: text, format: calendars(), def: "none", jobs: jobsNone, meaning: "when backups are made, as OnCalendar of systemd, such as `Mon..Fri 02:30`; this or `every`"},
			{name: "keep", shape: number, format: between(1, 1000), def: "14", jobs: jobsNone, meaning: "how many backups of the machine stay; older ones are deleted"},
			{name: "recipients", shape: list, required: true, item: &recipient, jobs: jobsNone, meaning: "public keys of [age](https://age-encryption.org), whose private keys decrypt a backup"},
		},
	}
}

// lastingPaths is a path on the control-plane machine that neither PAI nor a reboot
// removes. what is there, in the plural.
func lastingPaths(what string) format {
	f := paths()
	absolute := f.check
	f.check = func(value string) string {
		if wrong := absolute(value); wrong != "" {
			return wrong
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\%$`", r) }) {
			return quoted(value) + " must have printable ASCII characters only, without spaces and quotes"
		}
		for _, dir := range []string{
			layout.ProgramsDir, layout.ConfigDir, layout.StateDir, layout.KubernetesDir, layout.KubeletDir, layout.EtcdDir, layout.ContainerdDir,
			"/boot", "/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp",
		} {
			if value == dir || strings.HasPrefix(value, dir+"/") {
				return quoted(value) + " is in " + dir + ", where " + what + " do not last"
			}
		}
		return problemUnless(path.Dir(value) != value, "%s must be a dedicated directory", quoted(value))
	}
	return f
}

func durations(low, high time.Duration) format {
	return format{
		name: "duration", schema: map[string]any{"pattern": `^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`},
		check: func(value string) string {
			d, err := time.ParseDuration(value)
			if err != nil || d%time.Second != 0 {
				return quoted(value) + " is not a duration in whole seconds such as 90m or 24h"
			}
			return problemUnless(d >= low && d <= high, "%s is not between %s and %s", value, low, high)
		},
	}
}

// calendar is what systemd.time(7) calls a calendar event, without its rarer forms:
// a word, or days of the week, a date, and a time, each with lists, ranges, and
// repetitions.
var calendar = func() *regexp.Regexp {
	const (
		day    = `(Mon|Tue|Wed|Thu|Fri|Sat|Sun)`
		days   = day + `(\.\.` + day + `)?(,` + day + `(\.\.` + day + `)?)*`
		number = `(\*|\d{1,4}(\.\.\d{1,4})?)(/\d{1,4})?`
		field  = number + `(,` + number + `)*`
		date   = `(` + field + `-)?` + field + `-` + field
		clock  = field + `:` + field + `(:` + field + `)?`
	)
	return regexp.MustCompile(`^(minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|` +
		`(` + days + `)( ` + date + `)?( ` + clock + `)?|(` + date + `)( ` + clock + `)?|(` + clock + `))( UTC)?$`)
}()

func calendars() format {
	return format{name: "calendar event", schema: map[string]any{"pattern": `^[A-Za-z0-9*,./: -]+$`}, check: func(value string) string {
		return problemUnless(calendar.MatchString(value), "%s is not a calendar event such as daily, 02:30, or Mon..Fri *-*-* 02:30:00", quoted(value))
	}}
}

func recipients() format {
	return format{name: "age public key", schema: map[string]any{"pattern": "^age1[a-z0-9]{58}$"}, check: func(value string) string {
		if strings.HasPrefix(strings.ToUpper(value), "AGE-SECRET-KEY-") { // never repeat it
			return "this is a private key: name the public key, age1…, and keep the private key off the cluster"
		}
		_, err := age.ParseX25519Recipient(value)
		return problemUnless(err == nil, "%s is not an X25519 public key of age, age1…", quoted(value))
	}}
}

// backup checks that a backup says when it is made, and once.
func (r rules) backup() {
	b := r.c.Kubernetes.Backup
	switch {
	case b == nil:
	case b.Every == "" && b.Calendar == "":
		r.problem(KubernetesFile, "kubernetes.backup", "backup: say when backups are made, with every or calendar")
	case b.Every != "" && b.Calendar != "":
		r.problem(KubernetesFile, "kubernetes.backup.calendar", "backup: every and calendar exclude each other; remove one")
	}
	if b != nil {
		r.backupS3(b)
	}
}

// Interval is the time from one backup to the next; zero with a calendar.
func (b Backup) Interval() time.Duration {
	d, err := time.ParseDuration(b.Every)
	if err != nil {
		return 0
	}
	return d
}
