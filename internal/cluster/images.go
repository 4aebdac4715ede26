package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

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
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Images}})
	if err != nil || report.Images == nil {
		return false, err
	}
	// If the runtime is not responding, no image is usable.
	return allThere(report.Images.Records[path.Base(imageRecordFile(c.Bundle.Digest()))], report.Images.Images), nil
}

// allThere reports whether all images of a record exist.
func allThere(record, have map[string]string) bool {
	for name, digest := range record {
		if digest == "" || have[name] != digest {
			return false
		}
	}
	return len(record) > 0
}

// images imports the images of a bundle and pins them. The record is the last: it says
// that their layers are on disk.
func (c *cluster) images(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	if c.Bundle == nil {
		return fmt.Errorf("no bundle for the images of %s", s.To)
	}
	c.Progress("copying the images of %s to %s", c.Bundle.Manifest().Metadata.Name, h.Name())
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.Bundle.WriteImages(ctx, w)) }()
	defer r.Close()
	_, err := h.Run(ctx, machine.Command{Bulk: true, Stdin: r, Script: layout.ImportImages})
	if err != nil {
		return fmt.Errorf("import the images of %s on %q: %w", s.To, h.Name(), err)
	}
	report, err := helper.Parts(ctx, h, inspect.Images)
	if err != nil {
		return err
	}
	have, record := report.Images.Images, imageRecord{Images: map[string]string{}}
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
