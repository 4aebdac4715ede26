package release

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// layerFile is one entry of a layer: a file or a symbolic link.
type layerFile struct {
	Name   string // path in the layer, no leading slash
	Source string // file with the content
	Link   string // target of a symbolic link, instead of Source
	Mode   int64
}

// writeLayer writes a tar that depends only on the files' names, modes, and
// content: sorted, without times and owners. Directories come first.
func writeLayer(w io.Writer, files []layerFile, dirs map[string]int64) error {
	all := map[string]int64{}
	maps.Copy(all, dirs)
	for _, f := range files {
		for d := path.Dir(f.Name); d != "."; d = path.Dir(d) {
			if _, ok := all[d]; !ok {
				all[d] = 0o755
			}
		}
	}
	tw := tar.NewWriter(w)
	for _, d := range slices.Sorted(maps.Keys(all)) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: all[d], ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}); err != nil {
			return fmt.Errorf("write layer directory %q: %w", d, err)
		}
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b layerFile) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range files {
		if err := writeEntry(tw, f); err != nil {
			return fmt.Errorf("write layer entry %q: %w", f.Name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, f layerFile) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if f.Link != "" {
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Link, 0o777
		return tw.WriteHeader(header)
	}
	src, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(tw, src)
	return err
}

// layerFiles lists the files and directories of the part's layer. built has the
// files of its programs.
func (b *builder) layerFiles(p part, built map[string]string) ([]layerFile, map[string]int64, error) {
	var files []layerFile
	if p.kind == KindProgram {
		for _, name := range slices.Sorted(maps.Keys(built)) {
			files = append(files, layerFile{Name: name, Source: built[name], Mode: 0o755})
		}
		return files, nil, nil
	}
	for _, source := range built {
		files = append(files, layerFile{Name: strings.TrimPrefix(p.image.Program(), "/"), Source: source, Mode: 0o755})
	}
	dirs := map[string]int64{"tmp": 0o1777}
	if p.image.Shell {
		shell, err := b.shell()
		if err != nil {
			return nil, nil, err
		}
		files = append(files, layerFile{Name: "bin/busybox", Source: shell.file, Mode: 0o755})
		for _, applet := range shell.applets {
			if name := path.Join("bin", applet); name != files[0].Name {
				files = append(files, layerFile{Name: name, Link: "busybox"})
			}
		}
	}
	return files, dirs, nil
}
