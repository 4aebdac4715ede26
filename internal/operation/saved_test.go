package operation

import (
	"maps"
	"testing"

	"pai.dev/pai/internal/config"
)

// The digests of a configuration change with what it says to the cluster, and
// with nothing else: not with the versions, nor with who reaches the machines how.
func TestDigestsOfAConfiguration(t *testing.T) {
	base := func() *config.Config {
		c := &config.Config{Layout: config.Layout{SchemaVersion: 2, MachineList: []config.Machine{{Hostname: "a", HostIP: "10.0.0.1", Username: "root"}}}}
		c.Kubernetes.Version, c.Services.Cluster.Common.Release = "v0.9-pai", "v0.9"
		return c
	}
	of := func(c *config.Config) map[string]string {
		d, err := digests(c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := of(base())
	for _, c := range []struct {
		name, file string
		change     func(c *config.Config)
	}{
		{"versions", "", func(c *config.Config) { c.Kubernetes.Version, c.Services.Cluster.Common.Release = "v0.10-pai", "v0.10" }},
		{"another operator", "", func(c *config.Config) {
			c.Dir, c.Layout.MachineList[0].KeyfilePath, c.Layout.MachineList[0].Username = "/x", "/k", "ann"
		}},
		{"an address", "layout.yaml", func(c *config.Config) { c.Layout.MachineList[0].HostIP = "10.0.0.9" }},
		{"a port", "services-configuration.yaml", func(c *config.Config) { c.Services.RestServer.ServerPort = 9999 }},
		{"a network", "kubernetes-configuration.yaml", func(c *config.Config) { c.Kubernetes.PodClusterIPRange = "10.9.0.0/16" }},
	} {
		changed := base()
		c.change(changed)
		got := of(changed)
		if c.file == "" && !maps.Equal(got, want) {
			t.Errorf("%s: %v, was %v", c.name, got, want)
		}
		if c.file != "" && got[c.file] == want[c.file] {
			t.Errorf("%s: %s is the same", c.name, c.file)
		}
	}
}
