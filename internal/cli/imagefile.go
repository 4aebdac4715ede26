package cli

import (
	"archive/tar"
	"cmp"
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
	dockerFile = "manifest.json" // lists the images of a Docker archive
	// ownImages starts the names of the images of PAI.
	ownImages = "pai.local/"
	// maxIndex bounds what is read of an index.
	maxIndex = 4 << 20

	// Annotations of an index: the full name of an image for containerd, and
	// the name or tag of the OCI image specification.
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"
)

// imageFile is an OCI archive or layout, or a Docker archive, and the names
// under which its images are loaded.
type imageFile struct {
	path   string
	index  []byte // index.json, with full names; nil in an old Docker archive
	docker []byte // manifest.json
	names  []string
}

// openImageFile reads a file or directory. With newName, its only image gets
// that name.
func openImageFile(file, newName string) (*imageFile, error) {
	f := &imageFile{path: file}
	seen := map[string]bool{}
	err := f.each(func(h *tar.Header, r io.Reader) error {
		var err error
		// What is read here must be what the container runtime reads.
		if list := h.Name == indexFile || h.Name == dockerFile; list && (seen[h.Name] || h.Typeflag != tar.TypeReg || h.Size > maxIndex) {
			return fmt.Errorf("%s has a duplicate, is no file, or is larger than 4 MiB", h.Name)
		}
		seen[h.Name] = true
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
		return nil, pai.Errorf(pai.CodeUsage, "", "%s not found", file)
	case err != nil && pai.CodeOf(err) == pai.CodeInvalid:
		return nil, err
	case err != nil:
		return nil, pai.Errorf(pai.CodeInvalid, "", "read %s: %w", file, err)
	case f.index == nil && f.docker != nil:
		if err := f.dockerNames(newName); err != nil {
			return nil, err
		}
		return f, f.refuseOwn()
	case f.index == nil:
		return nil, pai.Errorf(pai.CodeInvalid, "create an archive, run: skopeo copy SOURCE oci-archive:FILE:NAME", "%s is not an OCI archive or layout: it has no %s", file, indexFile)
	}
	if err := f.setNames(newName); err != nil {
		return nil, err
	}
	return f, f.refuseOwn()
}

// refuseOwn refuses a file with an image of PAI. Services run the images of their
// bundle by these names, and the next one to start would run what the file has.
func (f *imageFile) refuseOwn() error {
	for _, full := range f.names {
		if strings.HasPrefix(full, ownImages) {
			return pai.Errorf(pai.CodeRefused, "load the image under another name, such as --name team/train:v3; nothing was loaded",
				"%s contains %s; only releases bring images of %s", f.path, full, strings.TrimSuffix(ownImages, "/"))
		}
	}
	return nil
}

// setNames gives every image in the index the full name that the container
// runtime uses.
func (f *imageFile) setNames(newName string) error {
	var index map[string]any
	if err := json.Unmarshal(f.index, &index); err != nil {
		return pai.Errorf(pai.CodeInvalid, "", "read %s of %s: %w", indexFile, f.path, err)
	}
	manifests, _ := index["manifests"].([]any)
	if len(manifests) == 0 {
		return pai.Errorf(pai.CodeInvalid, "", "%s contains no image", f.path)
	}
	if newName != "" && len(manifests) > 1 {
		return pai.Errorf(pai.CodeUsage, "omit --name", "%s contains %d images; one name is not enough", f.path, len(manifests))
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
			return pai.Errorf(pai.CodeUsage, "pass a name, such as --name team/train:v3", "the image in %s: %w", f.path, err)
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

// dockerNames reads the names in an archive of an older Docker. containerd
// imports such an archive unchanged.
func (f *imageFile) dockerNames(newName string) error {
	if newName != "" {
		return pai.Errorf(pai.CodeUsage, "omit --name; or create an OCI archive, run: skopeo copy docker-archive:"+f.path+" oci-archive:FILE:NAME",
			"%s is a Docker archive; its images cannot be renamed", f.path)
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
		return pai.Errorf(pai.CodeInvalid, "save the image by its name, run: docker save NAME", "no image in %s has a name", f.path)
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// fullName completes a name with its registry and tag. A word alone might be a
// tag without a name, so it counts only if the user passed it.
func fullName(s string, given bool) (string, error) {
	if s == "" || (!given && !strings.ContainsAny(s, "/:")) {
		return "", errors.New("it has no name")
	}
	ref, err := name.ParseReference(s)
	if err != nil {
		return "", err
	}
	full := ref.Name()
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry+"/"); ok {
		full = "docker.io/" + rest // the name that container runtimes use
	}
	return full, nil
}

// archive writes the images as an OCI archive with full names.
func (f *imageFile) archive(w io.Writer) error {
	out := tar.NewWriter(w)
	err := f.each(func(h *tar.Header, r io.Reader) error {
		header := &tar.Header{Name: h.Name, Typeflag: h.Typeflag, Linkname: h.Linkname, Mode: 0o644, Size: h.Size}
		if h.Typeflag == tar.TypeDir {
			header.Mode = 0o755
		}
		if h.Name == indexFile {
			header.Size, r = int64(len(f.index)), strings.NewReader(string(f.index))
		}
		// docker save adds its own list of images to that of OCI; one is enough.
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

// each visits the files and directories of the archive or layout.
func (f *imageFile) each(visit func(*tar.Header, io.Reader) error) error {
	file, err := f.open()
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := decompressed(f.path, file)
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
		// Older versions of Docker write a layer that several images have as a link.
		link := h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink
		if h.Name == "." || (h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir && !link) {
			continue
		}
		if !filepath.IsLocal(h.Name) || link && !filepath.IsLocal(target(h)) {
			return fmt.Errorf("%q is not below the root of the archive", h.Name)
		}
		if err := visit(h, archive); err != nil {
			return err
		}
	}
}

// target is the path that a link in an archive names.
func target(h *tar.Header) string {
	if h.Typeflag == tar.TypeLink || path.IsAbs(h.Linkname) {
		return h.Linkname
	}
	return path.Join(path.Dir(h.Name), h.Linkname)
}

// open returns the file, or a directory as an archive.
func (f *imageFile) open() (io.ReadCloser, error) {
	info, err := os.Stat(f.path)
	if err != nil || !info.IsDir() {
		return os.Open(f.path)
	}
	r, w := io.Pipe()
	go func() {
		archive := tar.NewWriter(w)
		w.CloseWithError(errors.Join(archive.AddFS(os.DirFS(f.path)), archive.Close()))
	}()
	return r, nil
}
