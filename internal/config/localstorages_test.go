package config

import (
	"testing"

	"pai.dev/pai/internal/pai"
)

// A configuration of `paictl up` is valid with its storage, and reads as it was written.
func TestLocalStoragesAreValid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := New("local", pai.Pair{Kubernetes: "v0.11-pai", Services: "v0.11"},
		[]Machine{{Hostname: "pai-1", HostIP: "10.0.0.1", Role: RoleControlPlane, KeyfilePath: "/root/.ssh/key"}}, []string{testKey})
	c.Services.Storages = LocalStorages()
	if err := Write(dir, c); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := got.Services.StorageList()
	if len(list) != 1 || list[0].Name != "default" || !list[0].Default || !list[0].PerUser || list[0].ReadOnly || len(list[0].Groups) != 1 || list[0].Groups[0] != "default" {
		t.Errorf("got %+v, want a storage for all users with a directory for each", list)
	}
}
