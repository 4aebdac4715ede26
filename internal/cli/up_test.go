package cli

import (
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
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
		if made := (&Env{}).localWith(storages).Storage; made != want {
			t.Errorf("%s: machines with the directory of a storage: %v, want %v", m.Metadata.Name, made, want)
		}
	}
}

// Machines get the directory of a storage if the configuration has one there.
func TestLocalMachinesHaveTheDirectoryOfTheirStorage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		storage config.Storage
		want    bool
	}{
		"there":           {config.Storage{Type: pai.StorageDirectory, Path: "/srv/pai/default"}, true},
		"elsewhere":       {config.Storage{Type: pai.StorageDirectory, Path: "/srv/data"}, false},
		"there, a server": {config.Storage{Type: pai.StorageNFS, Server: "nas", Path: "/srv/pai/default"}, false},
	} {
		storages := map[string]config.Storage{"a": {Type: pai.StorageDirectory, Path: "/mnt/a"}, "b": c.storage, "c": {Type: pai.StorageDirectory, Path: "/mnt/c"}}
		if got := (&Env{}).localWith(storages).Storage; got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
