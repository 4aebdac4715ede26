package cluster

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// The unit of the proxy adds the API address before it listens. With one control-plane machine,
// and for other roles, it adds nothing.
func TestUnitOfTheProxyAddsTheAPIAddress(t *testing.T) {
	t.Parallel()
	for _, o := range unitTable {
		if one := unitFile(o.withAPIAddress(testConfig())); one != unitFile(o) {
			t.Errorf("%s of one control-plane machine: %s", o.role, one)
		}
		three := unitFile(o.hardened().withAPIAddress(threeControlPlanes()))
		if o.role == plan.RoleAPIProxy {
			checkRendered(t, "three/api-proxy-unit", three)
		} else if three != unitFile(o.hardened()) {
			t.Errorf("%s of three control-plane machines: %s", o.role, three)
		}
	}
}

// Every role file of one control-plane machine is what it was before there could be several.
func TestRoleFilesHaveTheAPIAddressOnlyWithSeveralControlPlanes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*config.Config{"one": testConfig(), "three": threeControlPlanes()} {
		c := scripted(t)
		c.deps.Config = cfg
		files, err := Files(t.Context(), c.deps, plan.Step{Kind: plan.KindRole, Role: plan.RoleAPIProxy, Target: "pai-2", To: pai.AnyVersion(comparedVersion)})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{layout.UnitFile(plan.RoleAPIProxy), layout.APIProxyFile} {
			if got := strings.Contains(files[path], config.DefaultAPIAddress); got != (name == "three") {
				t.Errorf("%s: %s has the API address: %v", name, path, got)
			}
		}
	}
}

// The endpoints of the API never change with several control-plane machines.
func TestEndpointsOfTheAPI(t *testing.T) {
	t.Parallel()
	one, three := testConfig(), threeControlPlanes()
	if got := endpointAddress(one, one.ControlPlane()); got != "10.9.0.11" {
		t.Errorf("one: got %s", got)
	}
	for _, m := range three.ControlPlanes() {
		if got := endpointAddress(three, m); got != config.DefaultAPIAddress {
			t.Errorf("three, %s: got %s", m.Hostname, got)
		}
	}
	objects, err := (&cluster{Deps: Deps{Config: three}}).bootstrapObjects(three.ControlPlane())
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, o := range objects[len(objects)-2:] {
		all = append(all, o.Object)
	}
	data, err := documents(all...)
	if err != nil {
		t.Fatal(err)
	}
	checkRendered(t, "three/endpoints.yaml", string(data))
}

// The proxies of a cluster connect only to addresses that serve, so no connection passes more
// than two of them.
func TestProxiesConnectToServingAddresses(t *testing.T) {
	t.Parallel()
	cfg := threeControlPlanes()
	var serving []string
	configs := map[string]proxyConfig{}
	for _, m := range cfg.Layout.MachineList {
		configs[m.Hostname] = proxyConfigFor(cfg, m, nil)
		serving = append(serving, configs[m.Hostname].Serve...)
	}
	if len(serving) != 3 {
		t.Errorf("%q serve, want the control-plane machines", serving)
	}
	for name, p := range configs {
		others := 0
		for _, b := range p.Backends {
			if !b.Remote {
				continue
			}
			others++
			if !slices.Contains(serving, b.Address) || slices.Contains(p.Serve, b.Address) || slices.Contains(p.Listen, b.Address) {
				t.Errorf("%s connects to %s", name, b.Address)
			}
		}
		if want := 3 - len(p.Serve); others != want {
			t.Errorf("%s has %d other machines, want %d", name, others, want)
		}
	}
}

// A proxy that is replaced releases the addresses for other machines too.
func TestReleasedProxyHasNoAddress(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	cfg := threeControlPlanes()
	data, err := proxyFile(cfg, cfg.ControlPlane(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := c.hosts["pai-1"]
	h.Write(layout.APIProxyFile, string(data))
	released, err := (&cluster{Deps: c.deps}).releasedProxyFile(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	var p proxyConfig
	if err := json.Unmarshal(released, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Listen) != 0 || len(p.Serve) != 0 || len(p.Backends) != 4 || !p.Backends[3].Remote {
		t.Errorf("got %s, want the servers and no address", released)
	}
}

// The removal of Kubernetes removes the API address by its label, whatever the address is.
func TestCleanRemovesTheAPIAddress(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("scripts/clean.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "ip -4 address flush dev lo label "+layout.APIAddressLabel+" ") {
		t.Error("the script does not remove the API address")
	}
}
