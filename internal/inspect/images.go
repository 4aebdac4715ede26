package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"pai.dev/pai/internal/layout"
)

// images reports the images that were imported, and those that are there.
func (i *inspection) images(ctx context.Context) error {
	names, err := i.names(layout.ImagesDir)
	if err != nil {
		return err
	}
	i.report.Images = &ImageStore{Records: map[string]map[string]string{}}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue // being written
		}
		data, err := i.read(layout.ImagesDir + "/" + name)
		var record struct {
			Images map[string]string `json:"images"`
		}
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		if err != nil {
			i.problem(err, string(Images), name)
			continue
		}
		i.report.Images.Records[name] = record.Images
	}
	i.report.Images.Images, err = i.containerdImages(ctx)
	return err
}

// containerdImages are the images of containerd with their digests.
func (i *inspection) containerdImages(ctx context.Context) (map[string]string, error) {
	out, err := i.ctr(ctx, "images", "ls")
	if err != nil {
		return nil, fmt.Errorf("list the images of containerd: %w", err)
	}
	images := map[string]string{}
	for line := range strings.Lines(out) { // REF TYPE DIGEST SIZE PLATFORMS LABELS
		if f := strings.Fields(line); len(f) >= 3 && strings.HasPrefix(f[2], "sha256:") {
			images[f[0]] = f[2]
		}
	}
	return images, nil
}

// ctr runs the client of containerd.
func (i *inspection) ctr(ctx context.Context, args ...string) (string, error) {
	command := append(strings.Fields(layout.Ctr), args...)
	return i.Run(ctx, command[0], command[1:]...)
}
