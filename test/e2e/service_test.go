//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// refreshPlan is what `service refresh --dry-run -o json` prints of a plan.
type refreshPlan struct {
	Steps        []struct{ Target string }
	WouldRestart []string
}

// serviceVerbs changes the configuration of services that run, and deletes one,
// under a job that does not notice.
func (o *operator) serviceVerbs(before []container) {
	t := o.t
	const prometheus = "Deployment pai-system/prometheus"
	planned := func(steps, restarts []string) {
		t.Helper()
		var p refreshPlan
		o.json(&p, "service", "refresh", "--dry-run")
		var targets []string
		for _, s := range p.Steps {
			targets = append(targets, s.Target)
		}
		if !slices.Equal(targets, steps) || p.WouldRestart == nil || !slices.Equal(p.WouldRestart, restarts) {
			t.Errorf("a refresh would change %v and restart %v, want %v and %v", targets, p.WouldRestart, steps, restarts)
		}
	}
	refresh := func(want ...string) {
		t.Helper()
		report := o.run(10*time.Minute, "service", "refresh", "--yes")
		for _, line := range want {
			if !regexp.MustCompile(`(?m)^ +` + line + `$`).MatchString(report) {
				t.Errorf("the report has no line %q:\n%s", line, report)
			}
		}
		planned(nil, nil)
	}
	planned(nil, nil)

	o.editServices(`port: 9091\n`, "port: 9191\n")
	planned([]string{"prometheus"}, nil)
	refresh(`configured +Service pai-system/prometheus`, `restarted +nothing`)

	o.editServices(`(scrape[-_]interval): \d+\n`, "$1: 45\n")
	planned([]string{"prometheus"}, []string{prometheus})
	refresh(`configured +ConfigMap pai-system/prometheus`, `restarted +`+prometheus)

	if out, err := o.trySoon("service", "delete", "kueue", "--dry-run"); exitCode(err) != 3 || !strings.Contains(err.Error(), "rest-server") {
		t.Errorf("what others need is deleted: %v\n%s", err, out)
	}
	o.run(5*time.Minute, "service", "delete", "prometheus", "--yes")
	if out := o.on("pai-1", "ls /var/lib/pai"); !strings.Contains(out, "prometheus") {
		t.Errorf("its data went with it:\n%s", out)
	}
	o.run(5*time.Minute, "service", "delete", "prometheus", "--delete-data", "--yes")
	if out := o.on("pai-1", "ls /var/lib/pai"); strings.Contains(out, "prometheus") {
		t.Errorf("its data is left:\n%s", out)
	}
	o.run(10*time.Minute, "service", "start", "--skip", "kueue,jobset", "--yes")
	o.run(time.Minute, "service", "status")
	o.wantContainers(before)
}

// editServices edits the services' configuration as an operator would.
func (o *operator) editServices(pattern, replacement string) {
	o.t.Helper()
	file := filepath.Join(o.state, "clusters/local/config/services-configuration.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		o.t.Fatal(err)
	}
	text := regexp.MustCompile(pattern).ReplaceAllString(string(data), replacement)
	if text == string(data) {
		o.t.Fatalf("%s has nothing like %q:\n%s", file, pattern, data)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}
