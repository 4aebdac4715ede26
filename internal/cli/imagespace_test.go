package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/inspecttest"
)

// withFree is a machine with free space, in bytes, and images.
func withFree(t *testing.T, name string, free int64, images string) machine.Host {
	t.Helper()
	h := inspecttest.NewHost(t, name)
	h.Script = func(_ context.Context, c machine.Command) (string, error) {
		switch c.Script {
		case "df -Pk " + layout.ContainerdDir:
			return fmt.Sprintf("Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 999999999 1 %d 1%% /\n", free>>10), nil
		case layout.Ctr + " images list":
			return images, nil
		}
		return "", errors.New("not asked for: " + c.Script)
	}
	return h
}

func TestImageSpaceIsCheckedBeforeTheCopy(t *testing.T) {
	t.Parallel()
	const gb = 1 << 30
	file := &imageFile{path: "train.tar", names: []string{"docker.io/team/train:v3"}, digests: map[string]string{"docker.io/team/train:v3": "sha256:aa"},
		size: imageSize{archive: 4 * gb, unpacked: 6 * gb}}
	const has, older = "docker.io/team/train:v3 type sha256:aa 4GB linux/amd64 -\n", "docker.io/team/train:v3 type sha256:bb 4GB linux/amd64 -\n"
	large, exact := withFree(t, "large", 90*gb, ""), withFree(t, "exact", 11*gb, "")
	if err := checkImageSpace(t.Context(), []machine.Host{large, exact, withFree(t, "there", gb, has)}, file); err != nil {
		t.Errorf("got %v, want the images loaded", err)
	}
	err := checkImageSpace(t.Context(), []machine.Host{large, withFree(t, "small", 11*gb-1024, ""), withFree(t, "old", gb, older)}, file)
	if pai.CodeOf(err) != pai.CodeRefused {
		t.Fatalf("got %v, want a refusal", err)
	}
	for _, want := range []string{"needs about 12 GB", "4.3 GB for the archive", "6.4 GB unpacked", "machine small has 12 GB free in " + layout.ContainerdDir, "machine old has 1.1 GB free"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "large") {
		t.Errorf("got %v, which names a machine with enough space", err)
	}
	if err := checkImageSpace(t.Context(), []machine.Host{withFree(t, "x", -2048, "")}, &imageFile{names: []string{"a"}}); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v on a full disk", err)
	}
	broken := inspecttest.NewHost(t, "broken")
	if err := checkImageSpace(t.Context(), []machine.Host{broken}, file); err == nil {
		t.Error("got no error of a machine that does not say what is free")
	}
}

// A packed layer needs more when it is unpacked.
func TestSizeOfAnImage(t *testing.T) {
	t.Parallel()
	f, err := openImageFile(put(t, "image.tar", archiveOf(t, map[string]string{
		"index.json": index(""), "blobs/sha256/plain": strings.Repeat("x", 1000), "blobs/sha256/gzip": "\x1f\x8b" + strings.Repeat("x", 98), "blobs/sha256/short": "x",
	})), "train:v3")
	if err != nil || f.size != (imageSize{archive: 1101, unpacked: 1201}) {
		t.Errorf("got %+v, %v", f, err)
	}
}
