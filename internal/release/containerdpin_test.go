package release_test

import (
	"os"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// From containerd 2.2.5 on, labels of an image that containerd itself would act on are
// not copied to its containers (CVE-2026-53488). Frozen releases stay as they are.
func TestReleasePinsContainerd(t *testing.T) {
	t.Parallel()
	manifests, err := release.Load(os.DirFS("../../releases"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range manifests {
		for _, p := range m.Programs {
			if p.Name != "containerd" {
				continue
			}
			seen++
			if pai.CompareVersions(p.Version, "v2.2.5") < 0 {
				t.Errorf("release %s pins containerd %s, want v2.2.5 or newer", m.Metadata.Name, p.Version)
			}
		}
	}
	if seen == 0 {
		t.Error("no release pins containerd")
	}
}
