package config

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

var v10 = pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}

const testKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

// upgradeReport is an upgrade as a golden file: its edits, the files, and the
// result of a check after it.
func upgradeReport(t *testing.T, dir string) string {
	t.Helper()
	u, err := Upgrade(dir, MigrationTarget{Pair: v10, TrustedKey: testKey})
	if err != nil {
		return strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "-- changes of schema %d to %d --\n", u.From, u.To)
	for _, c := range u.Edits {
		fmt.Fprintln(&out, strings.ReplaceAll(c.String(), dir+"/", ""))
	}
	previous, err := u.Write()
	if err != nil {
		t.Fatal(err)
	}
	after := snapshot(t, dir)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		fmt.Fprintf(&out, "-- %s --\n%s", name, after[name])
	}
	fmt.Fprintf(&out, "-- check --\n%s", messages(t, dir))
	if previous != "" {
		fmt.Fprintf(&out, "-- previous: %s --\n", strings.Join(slices.Sorted(maps.Keys(snapshot(t, previous))), " "))
	}
	again, err := Upgrade(dir, MigrationTarget{Pair: v10, TrustedKey: testKey})
	if err != nil || again.Differs() || len(again.Edits) > 0 {
		t.Errorf("upgraded twice: %v, %v", again.Edits, err)
	}
	return out.String()
}

// The published examples of both schemas, with placeholders for addresses.
func TestUpgradePublished(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"v0.9", "v0.10"} {
		dir := filepath.Join(t.TempDir(), "config")
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata/published", release))); err != nil {
			t.Fatal(err)
		}
		got := "-- check before --\n" + messages(t, dir) + upgradeReport(t, dir)
		golden.Check(t, filepath.Join("testdata/published", release+".want"), got)
	}
}

// TestUpgradeCases upgrades every configuration in testdata/upgrade.
func TestUpgradeCases(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/upgrade/*.txtar")
	if err != nil || len(cases) < 5 {
		t.Fatalf("cases: %v, %v", cases, err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "config")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range archive.Files {
				write(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			golden.Check(t, strings.TrimSuffix(path, "txtar")+"want", upgradeReport(t, dir))
		})
	}
}

// Every key of the historical PAI gets its current name and keeps its value.
func TestUpgradeMovesEveryRenamedKey(t *testing.T) {
	t.Parallel()
	moves := map[string]string{
		"cluster.clusterid":                                   "cluster.common.cluster-id",
		"cluster.data-path":                                   "cluster.common.data-path",
		"cluster.docker-registry-info.docker-namespace":       "cluster.docker-registry.namespace",
		"cluster.docker-registry-info.docker-registry-domain": "cluster.docker-registry.domain",
		"cluster.docker-registry-info.docker-username":        "cluster.docker-registry.username",
		"cluster.docker-registry-info.docker-password":        "cluster.docker-registry.password",
		"cluster.docker-registry-info.docker-tag":             "cluster.docker-registry.tag",
		"cluster.docker-registry-info.secret-name":            "cluster.docker-registry.secret-name",
		"restserver.server-port":                              "rest-server.server-port",
		"frameworklauncher.frameworklauncher-port":            "yarn-frameworklauncher.frameworklauncher-port",
		"hadoop.virtualClusters.default":                      "hadoop-resource-manager.virtualClusters.default",
		"prometheus.yarn_exporter_port":                       "hadoop-resource-manager.yarn_exporter_port",
		"prometheus.prometheus-port":                          "prometheus.port",
		"prometheus.scrape_interval":                          "prometheus.scrape_interval",
		"prometheus.alerting.alert_receiver":                  "alert-manager.receiver",
		"prometheus.alerting.alert_manager_port":              "alert-manager.port",
		"prometheus.alerting.smtp_url":                        "alert-manager.smtp_url",
		"prometheus.alerting.smtp_from":                       "alert-manager.smtp_from",
		"prometheus.alerting.smtp_auth_username":              "alert-manager.smtp_auth_username",
		"prometheus.alerting.smtp_auth_password":              "alert-manager.smtp_auth_password",
		"grafana.grafana-port":                                "grafana.port",
		"prometheus.node-exporter-port":                       "node-exporter.port",
		"drivers.version":                                     "drivers.version",
		"webportal.server-port":                               "webportal.server-port",
		"pylon.port":                                          "pylon.port",
	}
	before := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	values := map[string]string{}
	for i, from := range slices.Sorted(maps.Keys(moves)) {
		values[from] = fmt.Sprintf("value-%d", i)
		parent, name := parentOf(from)
		m := makeMapping(before, parent)
		m.Content = append(m.Content, newScalar(name), newScalar(values[from]))
	}
	data, err := yaml.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	u, err := upgrade("", map[string][]byte{ServicesFile: data}, MigrationTarget{})
	if err != nil {
		t.Fatal(err)
	}
	after, problems := parse(u.content[ServicesFile])
	if after == nil {
		t.Fatal(problems)
	}
	count := 0
	each(after, func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, "value-") {
			count++
		}
	})
	for from, to := range moves {
		if got := plain(find(after, to)); got != values[from] {
			t.Errorf("%s was not moved to %s, which has %q", from, to, got)
		}
	}
	if count != len(moves) {
		t.Errorf("%d values of %d are left:\n%s", count, len(moves), u.content[ServicesFile])
	}
	for _, c := range u.Edits {
		if c.Line < 1 || c.Column < 1 || strings.Contains(c.String(), values["cluster.docker-registry-info.docker-password"]) {
			t.Errorf("%s", c)
		}
	}
}

// An upgrade does not touch a configuration that it cannot read.
func TestUpgradeRefusesUnreadableFiles(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	write(t, filepath.Join(dir, ServicesFile), "cluster: [\n")
	before := snapshot(t, dir)
	_, err := Upgrade(dir, MigrationTarget{})
	if pai.CodeOf(err) != pai.CodeInvalid || !strings.Contains(err.Error(), "services-configuration.yaml:1:1") {
		t.Errorf("error: %v", err)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("the directory has changed: %v", after)
	}
	if _, err := Upgrade(t.TempDir(), MigrationTarget{}); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("an empty directory: %v", err)
	}
}

// Versions go up and never down.
func TestUpgradeNeverLowers(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	if err := SetVersions(dir, pai.Pair{Services: "v0.12", Kubernetes: "v0.12-pai"}); err != nil {
		t.Fatal(err)
	}
	u, err := Upgrade(dir, MigrationTarget{Schema: 1, Pair: v10})
	if err != nil {
		t.Fatal(err)
	}
	c, report := u.Check()
	if len(report.Problems) > 0 || c.Pair() != (pai.Pair{Services: "v0.12", Kubernetes: "v0.12-pai"}) || u.To != 2 {
		t.Errorf("%v, %v, schema %d", report.Problems, c.Pair(), u.To)
	}
	for name, data := range u.content {
		if !bytes.Contains(data, []byte("schema-version: 2\n")) {
			t.Errorf("%s does not name its schema", name)
		}
	}
}
