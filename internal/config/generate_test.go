package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

func someFound() []FoundMachine {
	return []FoundMachine{
		{Machine: Machine{HostIP: "10.244.3.1", SSHPort: 22, Username: "admin"}, Hostname: "GPU-01.example.org", Cores: 24, MemoryMiB: 229300,
			GPUs: []string{"Tesla K80", "Tesla K80"}, OS: "Debian GNU/Linux 12 (bookworm)", Disks: []string{"sda 480 GB"}},
		{Machine: Machine{HostIP: "10.96.0.7", SSHPort: 22, Username: "admin"}, Hostname: "GPU-01", Cores: 24, MemoryMiB: 229300,
			GPUs: []string{"Tesla K80", "Tesla K80"}, OS: "Debian GNU/Linux 12\n(bookworm)"},
		{Machine: Machine{HostIP: "10.0.0.9", SSHPort: 22, Username: "admin"}, Hostname: "node_9", Cores: 4, MemoryMiB: 700},
	}
}

// What is generated is complete, commented and valid, in both schemas.
func TestGenerate(t *testing.T) {
	t.Parallel()
	c := Generate("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, someFound(), []string{testKey})
	for schema := OldestSchema; schema <= Schema; schema++ {
		c.Layout.SchemaVersion = schema
		dir := t.TempDir()
		if err := Write(dir, c); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, FilesOf(schema)[0]))
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, filepath.Join("testdata/generated", FilesOf(schema)[0]), string(got))
	}
	if c.Kubernetes.PodClusterIPRange != "10.245.0.0/16" || c.Kubernetes.ServiceClusterIPRange != "10.97.0.0/16" {
		t.Errorf("ranges: %+v", c.Kubernetes)
	}
}

func TestReadAnswers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "quick-start.yaml")
	write(t, file, "machines:\n  - 10.0.0.1\n  - 10.0.0.2\nssh-username: pai\nssh-password: pw\nssh-port: 2222\ndns: 8.8.8.8\ncluster-id: lab\n")
	a, err := ReadAnswers(file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.Targets()
	if err != nil || len(list) != 2 || list[1] != (Machine{HostIP: "10.0.0.2", SSHPort: 2222, Username: "pai", Password: "pw"}) || a.ClusterID != "lab" {
		t.Errorf("%+v, %+v, %v", a, list, err)
	}
	write(t, file, "machines: [here]\nssh-usrname: pai\nssh-port: 0\n")
	_, err = ReadAnswers(file)
	for _, want := range []string{":1:12: ", `:2:1: unknown key "ssh-usrname"; did you mean "ssh-username"?`, ":3:11: ssh-port: 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v says nothing of %s", err, want)
		}
	}
}
