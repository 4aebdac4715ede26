package cluster

import (
	"testing"

	"pai.dev/pai/internal/layout"
)

// CoreDNS forwards only if every machine has a resolver; a machine that cannot be
// asked is an error, not a machine without one.
func TestAllHaveResolver(t *testing.T) {
	t.Parallel()
	c := newComparedCluster(t)
	ask := func() (bool, error) { return (&cluster{Deps: c.deps}).allHaveResolver(t.Context(), machineChange{}) }
	c.hosts["pai-1"].Write(layout.ResolverFile, "nameserver 10.9.0.1\n")
	if all, err := ask(); all || err != nil {
		t.Errorf("with one of two resolvers: got %v, %v", all, err)
	}
	c.hosts["pai-2"].Write(layout.ResolverFile, "nameserver 10.9.0.1\n")
	if all, err := ask(); !all || err != nil {
		t.Errorf("with two resolvers: got %v, %v", all, err)
	}
	c.deps.Hosts["pai-2"] = silentHost{c.hosts["pai-2"]}
	if all, err := ask(); all || err == nil {
		t.Errorf("with a silent machine: got %v, %v; want an error", all, err)
	}
	c.hosts["pai-1"].Write(layout.MaintenanceFile, `{"machines":{"pai-2":{"operation":"op-1"}}}`)
	if all, err := ask(); !all || err != nil {
		t.Errorf("with a silent machine in maintenance: got %v, %v; want the others", all, err)
	}
	c.deps.Hosts["pai-2"] = nil
	if all, err := ask(); !all || err != nil {
		t.Errorf("without a connection: got %v, %v; want the machines that are there", all, err)
	}
}
