package cli

import (
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

// A paictl of an older release refuses a configuration with storages.
func TestLocalClustersHaveAStorageSinceV011(t *testing.T) {
	t.Parallel()
	known, err := release.LoadRows(releases.FS)
	if err != nil {
		t.Fatal(err)
	}
	machines := []config.Machine{{Hostname: "pai-1", HostIP: "10.0.0.1", Role: config.RoleControlPlane}}
	for _, m := range known {
		storages := localConfig(m, machines, "key").Services.Storages
		want := m.Services.Version.AtLeast("v0.11")
		if _, has := storages["default"]; has != want || len(storages) > 1 {
			t.Errorf("%s: got %+v, want a storage: %v", m.Metadata.Name, storages, want)
		}
	}
}
