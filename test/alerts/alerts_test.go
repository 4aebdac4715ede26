package alerts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	root  = "../.."
	rules = root + "/services/prometheus/chart/rules"
	doc   = "docs/alerts.md"
	// shortest is longer than what any step of an operation takes from a part.
	shortest = 5 * time.Minute
)

// rule is an alert, as Prometheus reads it.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
	file                string
}

// expectation is one line of a test of promtool.
type expectation struct {
	At   string `yaml:"eval_time"`
	Name string `yaml:"alertname"`
	Want []any  `yaml:"exp_alerts"`
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: got %v, %v", pattern, found, err)
	}
	return found
}

func allRules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, file := range files(t, rules+"/*.yaml") {
		var content struct{ Groups []struct{ Rules []rule } }
		decode(t, file, &content)
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				r.file = filepath.Base(file)
				all = append(all, r)
			}
		}
	}
	return all
}

// Each alert says how serious it is, what happened where, and what to read, and no
// operation of PAI is long enough for it.
func TestEachRuleIsComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range allRules(t) {
		if seen[r.Alert] {
			t.Errorf("%s: duplicate", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
			t.Errorf("%s: got severity %q", r.Alert, s)
		}
		if s := r.Annotations["summary"]; len(s) < 20 || !strings.HasSuffix(s, ".") {
			t.Errorf("%s: got summary %q, want a sentence", r.Alert, s)
		}
		if got, want := r.Annotations["runbook"], doc+"#"+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s: got runbook %q, want %q", r.Alert, got, want)
		}
		if r.Alert == "OperationRuns" {
			if r.For != "" { // it is about the operation itself, and must be there before the others
				t.Errorf("%s: got for %q, want none", r.Alert, r.For)
			}
		} else if period, err := periodOf(r.For); err != nil || period < shortest {
			t.Errorf("%s: got for %q, %v; want at least %s", r.Alert, r.For, err, shortest)
		}
	}
	if len(seen) < 40 {
		t.Errorf("got %d alerts", len(seen))
	}
}

// oneIsEnough are the alerts of events that no operation causes, and of many in an hour: the
// first is news however soon it is over.
var oneIsEnough = map[string]bool{"AuditLogFails": true, "GPUMemoryErrors": true, "MemoryFaulty": true, "ServiceRestarts": true}

var window = regexp.MustCompile(`\b(?:rate|increase)\(.*?\[(\w+)[]:]`)

// A rate sees what happened until its window has passed. So a rule alerts of a disturbance
// that is as long as its period without its window.
func TestNoDisturbanceOfAnOperationAlerts(t *testing.T) {
	t.Parallel()
	windows := 0
	for _, r := range allRules(t) {
		period, _ := periodOf(r.For)
		for _, m := range window.FindAllStringSubmatch(strings.Join(strings.Fields(r.Expr), " "), -1) {
			windows++
			if seen, err := periodOf(m[1]); !oneIsEnough[r.Alert] && (err != nil || period < seen+shortest) {
				t.Errorf("%s: got for %s and a window of %s, %v; want a difference of at least %s", r.Alert, r.For, m[1], err, shortest)
			}
		}
	}
	if windows < 15 {
		t.Errorf("got %d windows", windows)
	}
}

// periodOf reads a period in days, or in hours and minutes.
func periodOf(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

var section = regexp.MustCompile(`(?m)^### (\S+)\n((?:[^#\n].*\n)+)`)

// docs/alerts.md has a section for each alert, and no other one.
func TestEachRuleHasASection(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, doc))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, m := range section.FindAllStringSubmatch(string(data), -1) {
		sections[m[1]] = m[2]
	}
	if got, want := len(sections), strings.Count(string(data), "\n### "); got != want {
		t.Errorf("got %d sections with text, want %d", got, want)
	}
	for _, r := range allRules(t) {
		text, found := sections[r.Alert]
		if !found {
			t.Errorf("%s has no section in %s", r.Alert, doc)
		} else if !strings.Contains(text, "\n**Do:** ") || !strings.Contains(text, "\n**Jobs:** ") {
			t.Errorf("%s: the section does not say what to do, or whether jobs are in danger", r.Alert)
		}
		delete(sections, r.Alert)
	}
	for name := range sections {
		t.Errorf("%s has a section for %s, which is no alert", doc, name)
	}
}

// Each alert has a test in which it occurs, and one in which it does not.
func TestEachRuleIsTested(t *testing.T) {
	t.Parallel()
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range files(t, "testdata/*.test.yaml") {
		var content struct {
			Tests []struct {
				Expected []expectation `yaml:"alert_rule_test"`
			}
		}
		decode(t, file, &content)
		for _, c := range content.Tests {
			for _, e := range c.Expected {
				if len(e.Want) > 0 {
					fires[e.Name] = true
				} else {
					silent[e.Name] = true
				}
			}
		}
	}
	for _, r := range allRules(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s: got a test in which it occurs: %v, in which it does not: %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

// promtool is the command line of the promtool of the Prometheus that the release has,
// with the same tags, so that both share what is compiled.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"run", "-modfile=tools/promtool.mod", "-tags=remove_all_sd,enable_kubernetes_sd",
		"github.com/prometheus/prometheus/cmd/promtool"}, args...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// Prometheus reads each rule, and it alerts when it should.
func TestRulesAlert(t *testing.T) {
	t.Parallel()
	args := []string{"test", "rules"}
	for _, file := range files(t, "testdata/*.test.yaml") {
		decode(t, file, new(map[string]any)) // so that go test runs again after a change
		args = append(args, "test/alerts/"+file)
	}
	allRules(t)
	promtool(t, args...)
}

// promtool is of the version that the release pins.
func TestPromtoolIsThatOfTheRelease(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`github\.com/prometheus/prometheus (v\S+)`)
	tool, err := os.ReadFile(root + "/tools/promtool.mod")
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Images []struct{ Name, Version string }
	}
	decode(t, root+"/releases/v0.11/release.yaml", &release)
	var pinned []string
	for _, image := range release.Images {
		if image.Name == "prometheus" {
			pinned = append(pinned, image.Version)
		}
	}
	if m := version.FindSubmatch(tool); len(pinned) != 1 || m == nil || string(m[1]) != pinned[0] {
		t.Errorf("tools/promtool.mod: got %s, want the version of the release, %q", m, pinned)
	}
}
