package alerts

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const alertmanager = root + "/services/alertmanager/chart"

// What an operation holds back is an alert that exists, has a reason, and is about a part
// that operations replace: never about jobs, data, disks, or hardware, and never one that
// says that alerts do not arrive.
func TestOperationsHoldBackNoAlertAboutJobs(t *testing.T) {
	t.Parallel()
	var held map[string]string
	decode(t, alertmanager+"/held-back.yaml", &held)
	known := map[string]rule{}
	for _, r := range allRules(t) {
		known[r.Alert] = r
	}
	for name, reason := range held {
		r, found := known[name]
		if !found {
			t.Errorf("%s: no rule makes this alert", name)
		}
		if len(reason) < 20 {
			t.Errorf("%s: got the reason %q", name, reason)
		}
		switch {
		case r.file == "control-plane.yaml", r.file == "services.yaml" && name != "NotificationsFail" && name != "RulesFail" && name != "MachinesNotMeasured",
			name == "KubeletSilent", name == "NodeExporterSilent":
		default:
			t.Errorf("%s of %s must not be held back", name, r.file)
		}
		for _, word := range []string{"Etcd", "Job", "Task", "Queue", "Stored", "Audit", "Backup"} {
			if strings.HasPrefix(name, word) && name != "JobSetNotReady" {
				t.Errorf("%s must not be held back", name)
			}
		}
	}
	if len(held) < 5 {
		t.Errorf("got %v, want the alerts that an upgrade can cause", slices.Sorted(maps.Keys(held)))
	}
}

// The Alertmanager of the release reads what the chart makes. The rendered configuration is
// in a golden file of internal/service.
func TestAlertmanagerReadsItsConfiguration(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(root + "/internal/service/testdata/alertmanager-with-receivers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	wrote := 0
	for _, part := range strings.Split(string(data), "\n---\n") {
		var object struct {
			Kind string
			Data map[string]string
		}
		if err := yaml.Unmarshal([]byte(part), &object); err != nil {
			t.Fatal(err)
		}
		if object.Kind != "ConfigMap" {
			continue
		}
		for name, text := range object.Data {
			wrote++
			text = strings.ReplaceAll(text, "/etc/alertmanager/", dir+"/")
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if wrote != 2 {
		t.Fatalf("got %d files, want the configuration and the text of mail", wrote)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-modfile=tools/amtool.mod", "github.com/prometheus/alertmanager/cmd/amtool", "check-config", filepath.Join(dir, "alertmanager.yml"))
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "4 receivers") || !strings.Contains(string(out), "1 templates") {
		t.Errorf("amtool: %v\n%s", err, out)
	}
}

// amtool has the modules of the component, in the same versions, so that it reads what the
// Alertmanager of the release reads.
func TestAmtoolIsThatOfTheRelease(t *testing.T) {
	t.Parallel()
	requirement := regexp.MustCompile(`(?m)^\t(\S+) (v\S+)`)
	requires := func(file string) map[string]string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, m := range requirement.FindAllStringSubmatch(string(data), -1) {
			all[m[1]] = m[2]
		}
		return all
	}
	tool, component := requires(root+"/tools/amtool.mod"), requires(root+"/components/alertmanager/v0.31.1/go.mod")
	if v := tool["github.com/prometheus/alertmanager"]; v == "" || v != component["github.com/prometheus/alertmanager"] {
		t.Errorf("tools/amtool.mod: got Alertmanager %q, want that of the component", v)
	}
	for name, version := range tool {
		if want := component[name]; want != "" && want != version {
			t.Errorf("tools/amtool.mod: got %s %s, want %s", name, version, want)
		}
	}
}
