//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// unconfigured is what `paictl cluster status -o json` lists as not in the
// configuration; nil is unknown.
type unconfigured struct {
	Nodes       []struct{ Name, Address, Kubelet string }
	Machines    []struct{ Name, Address string }
	EtcdMembers []struct {
		ID       string
		PeerURLs []string
		Learner  bool
		Started  bool
	}
	Services []struct{ Name, Release string }
}

func (o *operator) unconfigured(args ...string) unconfigured {
	o.t.Helper()
	var s struct{ Unconfigured unconfigured }
	o.json(&s, append([]string{"cluster", "status"}, args...)...)
	return s.Unconfigured
}

// strangerInventory is a service as an operator could have left it behind: PAI
// knows it by its inventory.
const strangerInventory = `apiVersion: v1
kind: ConfigMap
metadata: {name: inventory-service-stranger, namespace: pai-system, labels: {pai.dev/inventory: ""}}
data: {state: applied, objects.json: "[]", record.json: '{"release":"v0.8","hash":"by-hand"}'}
`

// strangersAreShown takes pai-2 out of a copy of the layout by hand, adds an
// etcd member by hand, and installs a service that no release has. Each has to be
// shown by the status and found by a check, also the member while the API is not
// available, and none is shown any more after its removal. A file in a directory
// of PAI is named.
func (o *operator) strangersAreShown() {
	t := o.t
	all := func(u unconfigured) string {
		return fmt.Sprint(len(u.Nodes), len(u.Machines), len(u.EtcdMembers), len(u.Services))
	}
	if u := o.unconfigured(); all(u) != "0 0 0 0" || u.Nodes == nil || u.Machines == nil || u.EtcdMembers == nil || u.Services == nil {
		t.Fatalf("a cluster of configured parts has %+v", u)
	}
	dir := o.layoutWithout("pai-2")
	const etcdctl = "/opt/pai/role/etcd-a/bin/etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key --endpoints https://127.0.0.1:2379 "
	o.on("pai-1", etcdctl+"member add stranger --learner --peer-urls=https://192.0.2.9:2380")
	removed := false
	remove := func(id string) {
		if !removed {
			removed = true
			o.on("pai-1", etcdctl+"member remove "+id)
		}
	}
	o.apply(strangerInventory)

	u := o.unconfigured("-p", dir)
	if all(u) != "1 1 1 1" || u.Nodes[0].Name != "pai-2" || u.Nodes[0].Kubelet != olderUpstream || u.Machines[0].Name != "pai-2" || u.Nodes[0].Address != u.Machines[0].Address ||
		!slices.Equal(u.EtcdMembers[0].PeerURLs, []string{"https://192.0.2.9:2380"}) || !u.EtcdMembers[0].Learner || u.EtcdMembers[0].Started ||
		u.Services[0].Name != "stranger" || u.Services[0].Release != "v0.8" {
		t.Fatalf("got %+v", u)
	}
	member := u.EtcdMembers[0].ID
	defer remove(member)
	text := o.run(time.Minute, "cluster", "status", "-p", dir)
	for _, row := range []string{`node +pai-2 +\S+, kubelet ` + regexp.QuoteMeta(olderUpstream) + `, ready`, `machine +pai-2 `, `etcd member +- +https://192\.0\.2\.9:2380, ID ` + member + `, learner, not started`, `service +stranger +release v0\.8`} {
		if !regexp.MustCompile(`(?m)^` + row).MatchString(text) {
			t.Errorf("the status has no row %q:\n%s", row, text)
		}
	}
	o.on("pai-1", "touch /etc/pai/stranger")
	var files []finding
	out, _ := o.trySoon("check", "-o", "json") // fails because of the member
	if err := json.Unmarshal([]byte(out), &files); err != nil || !slices.ContainsFunc(files, func(f finding) bool {
		return f.ID == "machine-files" && f.Target == "pai-1" && f.Outcome == "ok" && strings.Contains(f.Found, "/etc/pai/stranger")
	}) {
		t.Errorf("no check names the file: %v\n%s", err, out)
	}
	o.on("pai-1", "rm /etc/pai/stranger")
	found := o.strangersFound("-p", dir)
	for _, want := range []string{"warning node-unconfigured pai-2", "warning machine-unconfigured pai-2", "failed etcd-members " + member, "warning service-unconfigured stranger"} {
		if !slices.Contains(found, want) {
			t.Errorf("not found: %s; got %q", want, found)
		}
	}
	if err := o.refused(3, "upgrade", "apply", "--to", newer, "--yes"); !strings.Contains(err.Error(), "etcd-members "+member) {
		t.Errorf("an upgrade is not refused for the member: %v", err)
	}

	unit := o.on("pai-1", "systemctl list-units --plain --no-legend --state=active 'pai-apiserver-*' | cut -d' ' -f1")
	o.on("pai-1", "systemctl stop "+unit)
	u = o.unconfigured()
	o.on("pai-1", "systemctl start "+unit)
	if u.Nodes != nil || u.Services != nil || len(u.EtcdMembers) != 1 {
		t.Errorf("without the API server, got %+v, want unknown nodes and services and the member", u)
	}
	o.eventually(time.Minute, "the API is back", func() (bool, string) {
		out, err := o.tryKubectl("get nodes")
		return err == nil, out
	})

	remove(member)
	o.run(3*time.Minute, "service", "delete", "stranger", "--yes")
	if u := o.unconfigured(); all(u) != "0 0 0 0" {
		t.Errorf("after the removal, got %+v", u)
	}
	if found := o.strangersFound(); len(found) > 0 {
		t.Errorf("after the removal, the checks find %q", found)
	}
}

// layoutWithout is a copy of the configuration without a machine.
func (o *operator) layoutWithout(machine string) string {
	o.t.Helper()
	dir := filepath.Join(o.t.TempDir(), "config")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(o.state, "clusters/local/config"))); err != nil {
		o.t.Fatal(err)
	}
	entry := regexp.MustCompile(`(?m)^  - hostname: ` + machine + `\n(?:    .*\n)+`)
	for _, name := range []string{"cluster-configuration.yaml", "layout.yaml"} {
		file := filepath.Join(dir, name)
		data, err := os.ReadFile(file)
		if err != nil || !entry.Match(data) {
			continue
		}
		if err := os.WriteFile(file, entry.ReplaceAll(data, nil), 0o600); err != nil {
			o.t.Fatal(err)
		}
		return dir
	}
	o.t.Fatalf("no file in %s has an entry of %s", dir, machine)
	return ""
}

// strangersFound runs the checks and returns what those for unconfigured parts
// found, as "outcome id target".
func (o *operator) strangersFound(args ...string) []string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := o.try(ctx, nil, append([]string{"check", "-o", "json"}, args...)...)
	var all []finding
	if json.Unmarshal([]byte(out), &all) != nil || len(all) < 30 {
		o.t.Fatalf("%v\n%s", err, out)
	}
	var found []string
	for _, f := range all {
		if f.Outcome != "ok" && (strings.HasSuffix(f.ID, "-unconfigured") || f.ID == "etcd-members") {
			found = append(found, strings.TrimSpace(f.Outcome+" "+f.ID+" "+f.Target))
			if f.Fix == "" {
				o.t.Errorf("%+v does not say what to do", f)
			}
		}
	}
	return found
}
