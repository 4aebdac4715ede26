//go:build e2e

package e2e

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// hostileLabel is a label that containerd itself would act on, as root.
const hostileLabel = "containerd.io/restart.policy"

// loadRootImage loads the example image as test/root:v1: its programs run as root, and
// it has hostileLabel.
func (o *operator) loadRootImage() {
	o.t.Helper()
	o.loadVariant("test/root:v1", func(image v1.Image) (v1.Image, error) {
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		config = config.DeepCopy()
		config.Config.User = "0:0"
		config.Config.Labels = map[string]string{hostileLabel: "no", "team": "red"}
		return mutate.ConfigFile(image, config)
	})
}

// loadVariant loads a changed example image under a name.
func (o *operator) loadVariant(name string, change func(v1.Image) (v1.Image, error)) {
	o.t.Helper()
	dir := o.t.TempDir()
	// Without --local, the archive comes over a stream of the runtime, and once its end was missing.
	exported := o.on("pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io images export --local - pai.local/example:v1")
	unpack(o, exported, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		o.t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) == 0 {
		o.t.Fatalf("got %+v, %v, want the example image", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		o.t.Fatal(err)
	}
	if image, err = change(image); err != nil {
		o.t.Fatal(err)
	}
	file := filepath.Join(o.t.TempDir(), "variant")
	if _, err := layout.Write(file, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image})); err != nil {
		o.t.Fatal(err)
	}
	o.run(2*time.Minute, "image", "load", file, "--name", name)
}

// unpack writes the files of an archive.
func unpack(o *operator, archive, dir string) {
	o.t.Helper()
	r := tar.NewReader(strings.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			o.t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(file, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(file, data, 0o600)
			}
		}
		if err != nil {
			o.t.Fatal(err)
		}
	}
}
