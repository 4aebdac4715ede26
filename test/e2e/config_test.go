//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sharing has a second operator, bob, who pulls the configuration into another
// directory and pushes a change, so that the first directory is outdated.
func (o *operator) sharing() {
	t := o.t
	type row struct {
		Revision   int
		By, Why    string
		AppliedTo  []string
		Operations []struct{ Verb, Outcome string }
	}
	var history []row
	o.json(&history, "config", "history")
	first, last := history[0], history[len(history)-1]
	if first.Revision != 1 || first.Why != "k8s-bootup" || !slices.ContainsFunc(first.Operations, func(op struct{ Verb, Outcome string }) bool { return op.Verb == "service-start" }) {
		t.Errorf("the first revision is %+v", first)
	}
	if !slices.Equal(last.AppliedTo, []string{"kubernetes", "services"}) || !strings.HasPrefix(last.Why, "upgrade") || !strings.Contains(last.By, "@") {
		t.Errorf("after the upgrade the newest revision is %+v", last)
	}
	inAPI := strings.Fields(o.kubectl("get secrets -n kube-system -l pai.dev/configuration-revision -o name"))
	if out := o.kubectl("get secrets -n pai-system -l pai.dev/configuration-revision -o name"); strings.TrimSpace(out) != "" {
		t.Errorf("services can read %s", out)
	}
	if len(inAPI) != len(history) {
		t.Errorf("the API holds %v of %d revisions", inAPI, len(history))
	}

	bob := filepath.Join(t.TempDir(), "bob")
	o.run(time.Minute, "config", "pull", "-p", bob)
	services := filepath.Join(bob, "services-configuration.yaml")
	data, err := os.ReadFile(services)
	if err != nil || !strings.Contains(string(data), "scrape_interval: 30") {
		t.Fatalf("%v:\n%s", err, data)
	}
	if err := os.WriteFile(services, []byte(strings.Replace(string(data), "scrape_interval: 30", "scrape_interval: 15", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var changes []struct{ Key, Before, After string }
	o.json(&changes, "config", "diff", "-p", bob)
	if len(changes) != 1 || changes[0].Key != "prometheus.scrape_interval" || changes[0].Before != "30" || changes[0].After != "15" {
		t.Errorf("bob's change is %+v", changes)
	}
	o.run(time.Minute, "config", "push", "-p", bob, "--cluster-id", "local", "-m", "look more often")

	var status struct {
		Configuration struct {
			Newest  struct{ Revision int }
			Pending []string
			Folder  string
		}
	}
	o.json(&status, "cluster", "status")
	if c := status.Configuration; c.Newest.Revision != last.Revision+1 || !slices.Equal(c.Pending, []string{"services"}) || c.Folder != "behind" {
		t.Errorf("after bob's push: %+v", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := o.try(ctx, nil, "service", "start", "--yes"); exitCode(err) != 3 || !strings.Contains(err.Error(), "look more often") {
		t.Errorf("an outdated directory was applied: %v", err)
	}
	if _, err := o.try(ctx, nil, "config", "push", "-m", "mine"); exitCode(err) != 3 || !strings.Contains(err.Error(), "prometheus.scrape_interval: 30 → 15") {
		t.Errorf("a push over bob's is not refused with bob's change: %v", err)
	}
	o.run(time.Minute, "config", "rollback", "-p", bob, "--cluster-id", "local", "1")
	if back, err := os.ReadFile(services); err != nil || strings.Contains(string(back), "scrape_interval: 15") {
		t.Errorf("bob's directory was not rolled back: %v\n%s", err, back)
	}
	// Revision 1 names what ran then, so only the change is undone.
	o.run(time.Minute, "config", "rollback", "-p", bob, "--cluster-id", "local", "-m", "as it was", strconv.Itoa(last.Revision))
	o.run(time.Minute, "config", "pull")
	o.json(&status, "cluster", "status")
	if c := status.Configuration; len(c.Pending) > 0 || c.Folder != "same" {
		t.Errorf("after all was undone: %+v", c)
	}
}

// configuration is the content of a directory beside the configuration of the
// local cluster, by file.
func (o *operator) configuration(name string) map[string]string {
	o.t.Helper()
	dir := filepath.Join(o.state, "clusters/local", name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		o.t.Fatal(err)
	}
	content := map[string]string{}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			o.t.Fatal(err)
		}
		content[e.Name()] = string(data)
	}
	return content
}

// publishedExample makes the cluster's configuration, for a release, the one that
// the historical PAI published as an example of its v0.9, as an operator would:
// with addresses, a key, and an ID, and one machine of the control plane.
func (o *operator) publishedExample(release string) {
	o.t.Helper()
	var machines []struct{ Name, Address, User string }
	o.json(&machines, "machine", "list")
	key := ""
	for line := range strings.Lines(o.configuration("config")["layout.yaml"]) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), "keyfile-path: "); ok {
			key = path
		}
	}
	example := filepath.Join(repository(), "internal/config/testdata/published/v0.9")
	dir := filepath.Join(o.state, "clusters/local/config")
	if err := os.RemoveAll(dir); err != nil {
		o.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		o.t.Fatal(err)
	}
	entries, err := os.ReadDir(example)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(example, e.Name()))
		if err != nil {
			o.t.Fatal(err)
		}
		text := string(data)
		switch e.Name() {
		case "cluster-configuration.yaml":
			text, _, _ = strings.Cut(text, "    - hostname: hostname\n") // the first machine is the only one
			text = strings.NewReplacer("hostname (echo `hostname`)", machines[0].Name, "hostip: IP", "hostip: "+machines[0].Address,
				"username: username", "username: "+machines[0].User, "  password: password", "  keyfile-path: "+key, "sshport: port", "sshport: 22").Replace(text)
		case "kubernetes-configuration.yaml":
			text = strings.NewReplacer("cluster-dns: IP", "cluster-dns: 169.254.0.10", "load-balance-ip: IP", "load-balance-ip: "+machines[0].Address).Replace(text)
		case "services-configuration.yaml":
			text += "\ncluster:\n  clusterid: local\nprometheus:\n  prometheus-port: 9091\n  scrape_interval: 30\n" // as they were spelled then
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), []byte(text), 0o600); err != nil {
			o.t.Fatal(err)
		}
	}
	o.run(time.Minute, "config", "upgrade", "--to", release)
	o.run(time.Minute, "config", "check")
}
