package cli

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"pai.dev/pai/internal/pai"
)

const (
	indexFile  = "index.json"
	dockerFile = "manifest.json" // lists the images of a Docker archive
	// ownImages starts the names of the images of PAI.
	ownImages = "pai.local/"
	// maxIndex bounds what is read of an index.
	maxIndex = 4 << 20
	// maxEntries bounds what a machine stores of the files of an archive. An image of an
	// old Docker has four for each layer.
	maxEntries = 100_000

	// annotationName is the full name of an image for containerd.
	annotationName = "io.containerd.image.name"
)

// imageFile is an OCI archive or layout, or a Docker archive, and the names
// under which its images are loaded.
//
// Both lists are written again from what was read, so that the container runtime cannot
// read other names than those that were checked. Its JSON decoder takes "Manifests" and
// even "manife\u017fts" for "manifests", and the last one counts.
type imageFile struct {
	path   string
	index  []byte // index.json, with full names; nil in an old Docker archive
	docker []byte // manifest.json, with full names
	names  []string
	// digests are those of the images, by name; none of a Docker archive.
	digests map[string]string
	size    imageSize
}

// dockerImage is an image in the list of a Docker archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// openImageFile reads a file or directory. With newName, its only image gets
// that name.
func openImageFile(file, newName string) (*imageFile, error) {
	f := &imageFile{path: file, digests: map[string]string{}}
	entered := false
	err := f.each(func(h *tar.Header, r io.Reader) error {
		entered = true
		if !f.isList(h.Name) {
			return f.size.add(h, r)
		}
		list := map[string]*[]byte{indexFile: &f.index, dockerFile: &f.docker}[h.Name]
		switch {
		case *list != nil || h.Typeflag != tar.TypeReg || h.Size > maxIndex:
			return fmt.Errorf("%s has a duplicate, is no file, or is larger than 4 MiB", h.Name)
		}
		var err error
		*list, err = io.ReadAll(io.LimitReader(r, maxIndex))
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, pai.Errorf(pai.CodeUsage, "", "%s not found", file)
	case err != nil && pai.CodeOf(err) == pai.CodeInvalid:
		return nil, err
	case errors.Is(err, tar.ErrHeader) && !entered:
		return nil, pai.Errorf(pai.CodeInvalid, "unpack it and load the result",
			"%s is no tar archive; paictl reads one as it is, or packed with gzip, zstd, or bzip2", file)
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

// isList reports whether a file lists the images.
func (f *imageFile) isList(name string) bool { return name == indexFile || name == dockerFile }

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
	var index ocispec.Index
	if err := json.Unmarshal(f.index, &index); err != nil {
		return pai.Errorf(pai.CodeInvalid, "", "read %s of %s: %w", indexFile, f.path, err)
	}
	if len(index.Manifests) == 0 {
		return pai.Errorf(pai.CodeInvalid, "", "%s contains no image", f.path)
	}
	if newName != "" && len(index.Manifests) > 1 {
		return pai.Errorf(pai.CodeUsage, "omit --name", "%s contains %d images; one name is not enough", f.path, len(index.Manifests))
	}
	for i := range index.Manifests {
		manifest := &index.Manifests[i]
		full, err := fullName(cmp.Or(newName, manifest.Annotations[annotationName], manifest.Annotations[ocispec.AnnotationRefName]), newName != "")
		if err != nil {
			return pai.Errorf(pai.CodeUsage, "pass a name, such as --name team/train:v3", "the image in %s: %w", f.path, err)
		}
		if manifest.Annotations == nil {
			manifest.Annotations = map[string]string{}
		}
		manifest.Annotations[annotationName] = full
		f.digests[full] = manifest.Digest.String()
		f.names = append(f.names, full)
	}
	return f.write(indexFile, &f.index, index)
}

// write makes a list of images from what was read of it.
func (f *imageFile) write(name string, list *[]byte, images any) error {
	data, err := json.Marshal(images)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	*list = data
	return nil
}

// dockerNames gives every image of an archive of an older Docker its full names. With
// newName, its only image gets that name: one that was saved by its ID has none.
func (f *imageFile) dockerNames(newName string) error {
	var images []dockerImage
	if err := json.Unmarshal(f.docker, &images); err != nil {
		return pai.Errorf(pai.CodeInvalid, "", "read %s of %s: %w", dockerFile, f.path, err)
	}
	if newName != "" && len(images) != 1 {
		return pai.Errorf(pai.CodeUsage, "omit --name", "%s contains %d images; one name is not enough", f.path, len(images))
	}
	if newName != "" {
		full, err := fullName(newName, true)
		if err != nil {
			return pai.Errorf(pai.CodeUsage, "pass a name, such as --name team/train:v3", "the image in %s: %w", f.path, err)
		}
		images[0].RepoTags = []string{full}
	}
	for _, image := range images {
		for i, tag := range image.RepoTags {
			full, err := fullName(tag, true)
			if err != nil {
				return pai.Errorf(pai.CodeInvalid, "", "an image in %s: %w", f.path, err)
			}
			image.RepoTags[i] = full
			f.names = append(f.names, full)
		}
	}
	if len(f.names) == 0 {
		return pai.Errorf(pai.CodeUsage, "pass a name, such as --name team/train:v3, if it is one image; or save it by its name, run: docker save NAME",
			"no image in %s has a name", f.path)
	}
	return f.write(dockerFile, &f.docker, images)
}

// nameCharacters are those of references to images (distribution, reference/regexp.go).
const nameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+/:@[]"

// fullName completes a name with its registry and tag. A word alone might be a
// tag without a name, so it counts only if the user passed it.
func fullName(s string, given bool) (string, error) {
	if s == "" || (!given && !strings.ContainsAny(s, "/:")) {
		return "", errors.New("it has no name")
	}
	// The library leaves bytes in the name of a registry that JSON cannot have: another image
	// than the one that is checked would be loaded.
	if i := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(nameCharacters, r) }); i >= 0 {
		return "", fmt.Errorf("%q is not the name of an image: it can have only letters, digits, and . _ - + / : @ [ ]", s)
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

// archive writes the images as an OCI archive with full names, or as a Docker archive.
func (f *imageFile) archive(w io.Writer) error {
	out := tar.NewWriter(w)
	err := f.each(func(h *tar.Header, r io.Reader) error {
		header := &tar.Header{Name: h.Name, Typeflag: h.Typeflag, Linkname: h.Linkname, Mode: 0o644, Size: h.Size}
		if h.Typeflag == tar.TypeDir {
			header.Mode = 0o755
		}
		// docker save adds its own list of images to that of OCI; one is enough.
		if f.index != nil && (h.Name == dockerFile || h.Name == "repositories") {
			return nil
		}
		if h.Name == indexFile || h.Name == dockerFile {
			list := f.docker
			if h.Name == indexFile {
				list = f.index
			}
			if list == nil {
				return errors.New("it has changed since its names were read")
			}
			header = &tar.Header{Name: h.Name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(list))}
			r = bytes.NewReader(list)
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
	for entries := 0; ; entries++ {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if entries == maxEntries {
			return fmt.Errorf("it has more than %d files", maxEntries)
		}
		h.Name = path.Clean(h.Name)
		// Holes of any size take no space in the archive, and fill the disks of machines.
		if slices.ContainsFunc(slices.Collect(maps.Keys(h.PAXRecords)), func(key string) bool { return strings.HasPrefix(key, "GNU.sparse.") }) {
			return fmt.Errorf("%q has holes, which no image has", h.Name)
		}
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

// open returns the file, or a directory as an archive. The file is read again for each
// machine.
func (f *imageFile) open() (io.ReadCloser, error) {
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().IsRegular():
		return os.Open(f.path)
	case !info.IsDir():
		return nil, errors.New("it is no file and no directory")
	}
	r, w := io.Pipe()
	go func() {
		archive := tar.NewWriter(w)
		w.CloseWithError(errors.Join(archive.AddFS(os.DirFS(f.path)), archive.Close()))
	}()
	return r, nil
}
