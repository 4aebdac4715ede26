package config

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"pai.dev/pai/internal/pai"
)

// FuzzCheck feeds any bytes as the files of either schema. Nothing may panic
// or hang; every problem has a place inside its file; what is valid can be
// written and read back to the same configuration, and is valid with the same
// meaning after an upgrade; upgrading twice is upgrading once.
func FuzzCheck(f *testing.F) {
	for _, pattern := range []string{"testdata/*.txtar", "testdata/upgrade/*.txtar"} {
		cases, err := filepath.Glob(pattern)
		if err != nil || len(cases) == 0 {
			f.Fatalf("seeds: %v, %v", cases, err)
		}
		for _, path := range cases {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				f.Fatal(err)
			}
			content := map[string][]byte{}
			for _, file := range archive.Files {
				content[file.Name] = file.Data
			}
			for _, machines := range []string{LayoutFile, ClusterFile} {
				if content[machines] != nil {
					f.Add(machines == ClusterFile, content[machines], content[KubernetesFile], content[ServicesFile])
				}
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, older bool, machines, kubernetes, services []byte) {
		content := map[string][]byte{LayoutFile: machines, KubernetesFile: kubernetes, ServicesFile: services}
		if older {
			delete(content, LayoutFile)
			content[ClusterFile] = machines
		}
		c, report := check("", content)
		for _, p := range append(report.Problems, report.Notes...) {
			if p.Line < 1 || p.Column < 1 || p.Message == "" || len(p.Message) > 2000 || content[p.File] == nil && p.Message != "the document is empty" {
				t.Errorf("problem %+v", p)
			}
		}
		upgraded := upgradeTwice(t, content)
		if len(report.Problems) > 0 {
			return
		}
		if upgraded == nil {
			t.Fatal("valid, and cannot be upgraded")
		}
		sameMeaning(t, c, upgraded)
		writeAndRead(t, dir, c)
	})
}

// upgradeTwice is the configuration after an upgrade; nil where the bytes are
// no YAML, or would break a limit.
func upgradeTwice(t *testing.T, content map[string][]byte) *Upgraded {
	aim := MigrationTarget{Pair: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, TrustedKey: testKey}
	once, err := upgrade("", maps.Clone(content), aim)
	if err != nil {
		if pai.CodeOf(err) != pai.CodeInvalid && !strings.Contains(err.Error(), "limit") {
			t.Fatalf("upgrade: %v", err)
		}
		return nil
	}
	twice, err := upgrade("", maps.Clone(once.content), aim)
	if err != nil {
		t.Fatalf("the second upgrade: %v", err)
	}
	if twice.Differs() || len(twice.Edits) > 0 {
		t.Fatalf("the second upgrade changes %v", twice.Edits)
	}
	return once
}

func sameMeaning(t *testing.T, before *Config, u *Upgraded) {
	after, report := u.Check()
	if len(report.Problems) > 0 {
		t.Fatalf("valid before the upgrade, and after it: %v\n%s", report.Problems, u.content)
	}
	a, b := *before, *after
	for _, c := range []*Config{&a, &b} {
		c.Layout.SchemaVersion, c.Kubernetes.Version, c.Services.Cluster.Common.Release = 0, "", ""
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("before the upgrade %+v\nafter it %+v", a, b)
	}
}

func writeAndRead(t *testing.T, dir string, c *Config) {
	written, err := os.MkdirTemp(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(written)
	if err := Write(written, *c); err != nil {
		t.Fatalf("write: %v", err)
	}
	again, err := Load(written)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	c.Dir = written
	if len(c.Layout.MachineSKU) == 0 {
		c.Layout.MachineSKU = nil
	}
	if !reflect.DeepEqual(c, again) {
		t.Fatalf("read %+v, wrote and read %+v", c, again)
	}
}

// The largest inputs that the limits allow: many values, and one machine after
// the other with properties to inherit.
func atTheLimits() map[string]map[string][]byte {
	values := []byte("machine-list: [")
	for len(values) < maxFileBytes-64 && len(values) < 2*maxValues-64 {
		values = append(values, "x,"...)
	}
	machines := []byte("default-machine-properties: {username: admin, sshport: 2222}\nmachine-list:\n")
	for range maxValues / 12 { // each has twelve values when they are spelled out
		machines = append(machines, "- hostname: gpu-01\n  hostip: 10.0.0.1\n  k8s-role: worker\n"...)
	}
	aliases := []byte("a: &a [1, 2, 3]\nmachine-list: [")
	for range maxAliases - 1 {
		aliases = append(aliases, "*a, "...)
	}
	return map[string]map[string][]byte{
		"values":   {LayoutFile: append(values, ']')},
		"machines": {ClusterFile: machines},
		"aliases":  {LayoutFile: append(aliases, ']')},
		"size":     {LayoutFile: []byte("# " + strings.Repeat("x", maxFileBytes-16) + "\nmachine-list: []")},
	}
}

// BenchmarkCheck and BenchmarkUpgrade show what the largest input costs.
func BenchmarkCheck(b *testing.B) {
	for name, content := range atTheLimits() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				check("", content)
			}
		})
	}
}

func BenchmarkUpgrade(b *testing.B) {
	for name, content := range atTheLimits() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := upgrade("", content, MigrationTarget{}); err != nil && !strings.Contains(err.Error(), "limit") {
					b.Fatal(err)
				}
			}
		})
	}
}
