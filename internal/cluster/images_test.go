package cluster

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// scriptOrder records scripts and written files in their order.
type scriptOrder struct {
	*inspecttest.Host
	did []string
}

func (h *scriptOrder) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	if !strings.HasPrefix(c.Script, "exec "+layout.HelperDir) {
		h.did = append(h.did, strings.Split(c.Script, "\n")...)
	}
	return h.Host.Run(ctx, c)
}

func (h *scriptOrder) WriteFile(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	h.did = append(h.did, "write "+file)
	return h.Host.WriteFile(ctx, file, data, mode)
}

// inOrder reports whether lines that start with these texts were done, one after the other.
func (h *scriptOrder) inOrder(starts ...string) bool {
	did := h.did
	for _, start := range starts {
		n := slices.IndexFunc(did, func(line string) bool { return strings.HasPrefix(line, start) })
		if n < 0 {
			return false
		}
		did = did[n+1:]
	}
	return true
}

// The record says that the images are there. Their layers are on disk before: containerd
// would find them after a loss of power, without their files.
func TestImagesAreOnDiskBeforeTheyAreRecorded(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	c.deps.Bundle = imageBundle{}
	made := c.hosts["pai-1"]
	made.Programs[layout.Ctr+" images ls"] = "pai.local/pause:v1 application/x sha256:aaa 1.0 MiB\n"
	var failed error
	made.Script = func(context.Context, machine.Command) (string, error) { return "", failed }
	h := &scriptOrder{Host: made}
	c.deps.Hosts["pai-1"] = h
	step := plan.Step{Kind: plan.KindImages, Target: "pai-1", To: pai.AnyVersion(comparedVersion)}
	record := "write " + path.Dir(imageRecordFile("x"))
	if err := Doers(c.deps)[step.Kind].Do(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	if !h.inOrder(layout.Ctr+" images import --local --sync-fs ", "sync -f "+layout.ContainerdDir, record) {
		t.Errorf("got %q, want the import, the layers on disk, and the record", h.did)
	}
	failed, h.did = errors.New("sync: Input/output error"), nil
	if err := Doers(c.deps)[step.Kind].Do(t.Context(), step); !errors.Is(err, failed) || h.inOrder(record) {
		t.Errorf("got %v and %q, want no record of layers that are not on disk", err, h.did)
	}
}
