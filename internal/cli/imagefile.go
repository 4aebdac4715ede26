package cli

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"pai.dev/pai/internal/pai"
)

const (
	indexFile  = "index.json"
	dockerFile = "manifest.json" // the list of images in a Docker archive
	// maxIndex is far above the size of any index of images.
	maxIndex = 4 << 20

	// Annotations of an index: containerd's full name of an image, and the
	// name or tag of the OCI image specification.
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"
)

// imageFile is an OCI archive or layout, or a Docker archive, and the names
// that its images are loaded under.
type imageFile struct {
	path   string
	index  []byte // index.json, with full names; nil in an old Docker archive
	docker []byte // manifest.json
	names  []string
}

// openImageFile reads what is in a file or folder. With newName its only image
// gets that name.
func openImageFile(file, newName string) (*imageFile, error) {
	f := &imageFile{path: file}
	err := f.each(func(h *tar.Header, r io.Reader) error {
		var err error
		switch h.Name {
		case indexFile:
			f.index, err = io.ReadAll(io.LimitReader(r, maxIndex))
		case dockerFile:
			f.docker, err = io.ReadAll(io.LimitReader(r, maxIndex))
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, pai.Errorf(pai.CodeUsage, "", "there is no %s", file)
	case err != nil:
		return nil, pai.Errorf(pai.CodeInvalid, "", "read %s: %w", file, err)
	case f.index == nil && f.docker != nil:
		return f, f.dockerNames(newName)
	case f.index == nil:
		return nil, pai.Errorf(pai.CodeInvalid, "make one with: skopeo copy SOURCE oci-archive:FILE:NAME", "%s is no OCI archive or layout: it has no %s", file, indexFile)
	}
	if err := f.setNames(newName); err != nil {
		return nil, err
	}
	return f, nil
}

// setNames gives every image in the index its full name, as the container
// runtime spells the image of a pod.
func (f *imageFile) setNames(newName string) error {
	var index map[string]any
	if err := json.Unmarshal(f.index, &index); err != nil {
		return pai.Errorf(pai.CodeInvalid, "", "read %s of %s: %w", indexFile, f.path, err)
	}
	manifests, _ := index["manifests"].([]any)
	if len(manifests) == 0 {
		return pai.Errorf(pai.CodeInvalid, "", "%s has no image in it", f.path)
	}
	if newName != "" && len(manifests) > 1 {
		return pai.Errorf(pai.CodeUsage, "leave --name out", "%s has %d images in it; one name is not enough", f.path, len(manifests))
	}
	for _, m := range manifests {
		manifest, ok := m.(map[string]any)
		if !ok {
			return pai.Errorf(pai.CodeInvalid, "", "%s of %s is not an OCI index", indexFile, f.path)
		}
		annotations, _ := manifest["annotations"].(map[string]any)
		if annotations == nil {
			annotations = map[string]any{}
			manifest["annotations"] = annotations
		}
		full, err := fullName(cmp.Or(newName, text(annotations[annotationName]), text(annotations[annotationRef])), newName != "")
		if err != nil {
			return pai.Errorf(pai.CodeUsage, "give it one with --name, such as --name team/train:v3", "the image in %s: %w", f.path, err)
		}
		annotations[annotationName] = full
		f.names = append(f.names, full)
	}
	var err error
	if f.index, err = json.Marshal(index); err != nil {
		return fmt.Errorf("write %s: %w", indexFile, err)
	}
	return nil
}

// dockerNames reads the names in an archive of an older Docker, which
// containerd takes as it is.
func (f *imageFile) dockerNames(newName string) error {
	if newName != "" {
		return pai.Errorf(pai.CodeUsage, "leave --name out, or make an OCI archive with: skopeo copy docker-archive:"+f.path+" oci-archive:FILE:NAME",
			"%s is a Docker archive, whose images cannot be renamed", f.path)
	}
	var images []struct{ RepoTags []string }
	if err := json.Unmarshal(f.docker, &images); err != nil {
		return pai.Errorf(pai.CodeInvalid, "", "read %s of %s: %w", dockerFile, f.path, err)
	}
	for _, image := range images {
		for _, tag := range image.RepoTags {
			full, err := fullName(tag, true)
			if err != nil {
				return pai.Errorf(pai.CodeInvalid, "", "an image in %s: %w", f.path, err)
			}
			f.names = append(f.names, full)
		}
	}
	if len(f.names) == 0 {
		return pai.Errorf(pai.CodeInvalid, "save it by its name: docker save NAME", "no image in %s has a name", f.path)
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// fullName spells a name with its registry and tag. A word alone may be a tag
// without a name, so it counts only when the user gave it.
func fullName(s string, given bool) (string, error) {
	if s == "" || (!given && !strings.ContainsAny(s, "/:")) {
		return "", fmt.Errorf("it has no name")
	}
	ref, err := name.ParseReference(s)
	if err != nil {
		return "", err
	}
	full := ref.Name()
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry+"/"); ok {
		full = "docker.io/" + rest // what container runtimes call it
	}
	return full, nil
}

// archive writes the images as an OCI archive with full names.
func (f *imageFile) archive(w io.Writer) error {
	out := tar.NewWriter(w)
	err := f.each(func(h *tar.Header, r io.Reader) error {
		header := &tar.Header{Name: h.Name, Typeflag: h.Typeflag, Mode: 0o644, Size: h.Size}
		if h.Typeflag == tar.TypeDir {
			header.Mode = 0o755
		}
		if h.Name == indexFile {
			header.Size, r = int64(len(f.index)), strings.NewReader(string(f.index))
		}
		// docker save adds its own list of images beside OCI's; one is enough.
		if f.index != nil && (h.Name == dockerFile || h.Name == "repositories") {
			return nil
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.Copy(out, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	return out.Close()
}

// each visits the files and folders of the archive or layout.
func (f *imageFile) each(visit func(*tar.Header, io.Reader) error) error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return f.eachInFolder(visit)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := decompressed(file)
	if err != nil {
		return err
	}
	archive := tar.NewReader(plain)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = path.Clean(h.Name)
		if h.Name == "." || (h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir) {
			continue
		}
		if err := visit(h, archive); err != nil {
			return err
		}
	}
}

func decompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if magic, err := b.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		return gzip.NewReader(b)
	}
	return b, nil
}

func (f *imageFile) eachInFolder(visit func(*tar.Header, io.Reader) error) error {
	return filepath.WalkDir(f.path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == f.path {
			return err
		}
		rel, err := filepath.Rel(f.path, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(rel), Size: info.Size(), Typeflag: tar.TypeReg}
		if d.IsDir() {
			h.Typeflag, h.Size = tar.TypeDir, 0
			return visit(h, strings.NewReader(""))
		}
		file, err := os.Open(p)
		if err != nil {
			return err
		}
		defer file.Close()
		return visit(h, file)
	})
}
