package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// pinnedLabel protects an image from the garbage collection of the kubelet,
// because it cannot be pulled again. The CRI plugin of containerd reads it.
const pinnedLabel = "io.cri-containerd.pinned=pinned"

// imageRecord is the file <digest of the bundle> in layout.ImagesDir: the images
// that came from the bundle, and their digests in containerd. It counts only if
// containerd still lists them.
type imageRecord struct {
	Images map[string]string `json:"images"` // full name → digest
}

func imageRecordFile(bundleDigest string) string {
	return layout.ImagesDir + "/" + strings.ReplaceAll(bundleDigest, ":", "-")
}

func (c *cluster) imagesDone(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	if c.Bundle == nil {
		return false, fmt.Errorf("no bundle for the images of %s", s.To)
	}
	data, err := h.ReadFile(ctx, imageRecordFile(c.Bundle.Digest()))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	have, err := listImages(ctx, h)
	if err != nil {
		return false, nil // the runtime is not responding, so they are not usable
	}
	return allThere(data, have), nil
}

func allThere(record []byte, have map[string]string) bool {
	var r imageRecord
	if err := json.Unmarshal(record, &r); err != nil || len(r.Images) == 0 {
		return false
	}
	for name, digest := range r.Images {
		if have[name] != digest {
			return false
		}
	}
	return true
}

// listImages lists the images of containerd: name → digest.
func listImages(ctx context.Context, h machine.Host) (map[string]string, error) {
	out, err := sh(ctx, h, "%s images ls", layout.Ctr)
	if err != nil {
		return nil, fmt.Errorf("list the images on %q: %w", h.Name(), err)
	}
	return parseImages(out), nil
}

// parseImages reads `ctr images ls`: REF TYPE DIGEST SIZE PLATFORMS LABELS.
func parseImages(out string) map[string]string {
	images := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 3 && strings.HasPrefix(f[2], "sha256:") {
			images[f[0]] = f[2]
		}
	}
	return images
}

// images imports the images of a bundle and pins them.
func (c *cluster) images(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	if c.Bundle == nil {
		return fmt.Errorf("no bundle for the images of %s", s.To)
	}
	c.Progress("copying the images of %s to %s", c.Bundle.Manifest().Metadata.Name, h.Name())
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.Bundle.WriteImages(ctx, w)) }()
	defer r.Close()
	_, err := h.Run(ctx, machine.Command{Stdin: r, Script: layout.Ctr + " images import --local --label " + pinnedLabel + " -"})
	if err != nil {
		return fmt.Errorf("import the images of %s on %q: %w", s.To, h.Name(), err)
	}
	have, err := listImages(ctx, h)
	if err != nil {
		return err
	}
	record := imageRecord{Images: map[string]string{}}
	for _, short := range c.Bundle.ImageNames() {
		name := c.Bundle.Image(short)
		if have[name] == "" {
			return fmt.Errorf("import the images of %s on %q: containerd does not list %s", s.To, h.Name(), name)
		}
		record.Images[name] = have[name]
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return h.WriteFile(ctx, imageRecordFile(c.Bundle.Digest()), data, 0o644)
}
