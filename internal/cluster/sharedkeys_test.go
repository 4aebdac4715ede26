package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// joining is a cluster with the keys of the cluster on cp-1, and a machine cp-2 that joins.
func joining(t *testing.T) (c *cluster, seed, joins *inspecttest.Host) {
	t.Helper()
	cfg := &config.Config{}
	hosts := map[string]machine.Host{}
	for i, name := range []string{"cp-1", "cp-2"} {
		cfg.Layout.MachineList = append(cfg.Layout.MachineList, config.Machine{Hostname: name, HostIP: []string{"10.0.0.1", "10.0.0.2"}[i], Role: config.RoleControlPlane})
		h := inspecttest.NewHost(t, name)
		shell(t, h)
		hosts[name] = h
	}
	seed, joins = hosts["cp-1"].(*inspecttest.Host), hosts["cp-2"].(*inspecttest.Host)
	for _, file := range keyFiles() {
		seed.Write(file, "of the cluster: "+file)
	}
	return &cluster{Deps: Deps{Config: cfg, Hosts: hosts, Seed: "cp-1"}}, seed, joins
}

// The keys reach the machine that joins as they are, and only root reads the private ones.
func TestKeysAreShared(t *testing.T) {
	t.Parallel()
	c, seed, joins := joining(t)
	step := plan.Step{Target: "cp-2"}
	for _, file := range keyFiles() {
		if err := copyKey(t.Context(), seed, joins, file); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(string(joins.Dir), file))
		if err != nil {
			t.Fatal(err)
		}
		public := strings.HasSuffix(file, ".crt") || strings.HasSuffix(file, ".pub")
		if readable := info.Mode().Perm()&0o077 != 0; readable != public {
			t.Errorf("%s has the mode %s", file, info.Mode())
		}
	}
	_, m, err := c.target(step)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := c.sharedKeysDone(t.Context(), joins, m, step); ok || err != nil {
		t.Errorf("got done %v, %v without certificates for the machine", ok, err)
	}
	for _, file := range pkiFiles() {
		joins.Write(file, "of the cluster: "+file)
	}
	joins.Write(layout.EncryptionFile, "another key")
	if ok, err := c.sharedKeysDone(t.Context(), joins, m, step); ok || err != nil {
		t.Errorf("got done %v, %v with another encryption key", ok, err)
	}
}

// A machine can have the only copy of the keys of another cluster.
func TestKeysOfAnotherClusterAreNotReplaced(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]bool{"no key": true, "the same key": true, "another key": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, seed, joins := joining(t)
			const file = layout.PKIDir + "/ca.key"
			switch name {
			case "the same key":
				joins.Write(file, "of the cluster: "+file)
			case "another key":
				joins.Write(file, "a secret of another cluster")
			}
			err := refuseKeysOfAnotherCluster(t.Context(), seed, joins)
			if own != (err == nil) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				return
			}
			if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "cp-2") || strings.Contains(err.Error(), "a secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}
