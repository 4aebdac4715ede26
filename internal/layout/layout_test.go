package layout_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
)

func TestPortsAreUnique(t *testing.T) {
	t.Parallel()
	type socket struct {
		protocol string
		number   int
	}
	users := map[socket]string{}
	for _, p := range layout.Ports() {
		at := socket{p.Protocol, p.Number}
		if before, found := users[at]; found {
			t.Errorf("port %d/%s: got two users, %s and %s", p.Number, p.Protocol, before, p.Component)
		}
		users[at] = p.Component
		if p.Component == "" || p.Address == "" {
			t.Errorf("port %d has no component or no address", p.Number)
		}
	}
}

func TestEveryPortOfASlotIsListed(t *testing.T) {
	t.Parallel()
	listed := map[int]layout.Role{}
	for _, p := range layout.TCPPorts() {
		listed[p.Number] = p.Role
	}
	for _, s := range layout.Slots() {
		for port, role := range map[int]layout.Role{
			s.EtcdClientPort: s.Etcd, s.EtcdPeerPort: s.Etcd, s.EtcdMetricsPort: s.Etcd, s.APIServerPort: s.APIServer,
		} {
			if listed[port] != role {
				t.Errorf("port %d: got role %q, want %q", port, listed[port], role)
			}
		}
		if layout.SlotOf(s.Etcd) != s || layout.SlotOf(s.APIServer) != s || s.Other().Other() != s || s.Other() == s {
			t.Errorf("slot %s is not found by its roles", s.Name)
		}
	}
}

func TestPathsOfAVersionAndARole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{layout.VersionDir("v0.10-pai"), "/opt/pai/v0.10-pai"},
		{layout.Program("v0.10-pai", "etcd"), "/opt/pai/v0.10-pai/bin/etcd"},
		{layout.RunScript("v0.10-pai", layout.RoleEtcdA), "/opt/pai/v0.10-pai/run/etcd-a"},
		{layout.VersionFile("v0.10-pai", layout.KubeletConfigName), "/opt/pai/v0.10-pai/etc/kubelet.yaml"},
		{layout.RoleProgram(layout.RoleKubelet, "kubelet"), "/opt/pai/role/kubelet/bin/kubelet"},
		{layout.Unit(layout.RoleAPIProxy), "pai-api-proxy.service"},
		{layout.SlotB.EtcdData(), "/var/lib/etcd/b"},
		{layout.SlotA.EtcdEnv(), "/etc/pai/etcd-a.env"},
		{layout.SlotB.Member("m1"), "m1-b"},
		{layout.SlotB.PeerURL("10.0.0.1"), "https://10.0.0.1:2390"},
		{layout.APIServerURL(6443), "https://api.pai.internal:6443"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if !strings.HasPrefix(layout.Ctr, layout.RoleProgram(layout.RoleRuntime, "ctr")) {
		t.Errorf("got %s, want the program of the role", layout.Ctr)
	}
}

func TestEveryRoleHasPrograms(t *testing.T) {
	for _, r := range layout.Roles() {
		if len(layout.ProgramsOf(r)) == 0 {
			t.Errorf("role %s has no programs", r)
		}
	}
}

// A file that is not listed counts as one of the operator: it is reported, and stays
// when the cluster is deleted.
func TestEveryFileOfTheConfigurationIsListed(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("paths.go")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile(`= ConfigDir \+ "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(files) < 8 {
		t.Fatalf("got %d files in paths.go, want more", len(files))
	}
	for _, f := range files {
		if path := layout.ConfigDir + f[1]; !slices.Contains(layout.ConfigFiles(), path) {
			t.Errorf("%s is not listed", path)
		}
	}
}
