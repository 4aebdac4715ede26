package release

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// serviceFiles collects the files of the release's services by their path in
// the bundle. They come from services/<name>, then from
// releases/<release>/services/<name>, which replaces files, and from the module
// with the chart.
func (b *builder) serviceFiles(ctx context.Context, m Manifest) (map[string][]byte, error) {
	files := map[string][]byte{}
	var problems []error
	for _, s := range m.ServiceList {
		if err := b.addService(ctx, files, string(m.Metadata.Name), s); err != nil {
			problems = append(problems, fmt.Errorf("service %q: %w", s.Name, err))
		}
	}
	return files, errors.Join(problems...)
}

func (b *builder) addService(ctx context.Context, files map[string][]byte, release string, s ServicePin) error {
	own := filepath.Join(b.Source, "services", s.Name)
	if err := addTree(files, s.Name, own); err != nil {
		return err
	}
	if _, ok := files[path.Join(s.Name, "service.yaml")]; !ok {
		return fmt.Errorf("service.yaml not found in %s", own)
	}
	overlay := filepath.Join(b.Source, "releases", release, "services", s.Name)
	if err := addTree(files, s.Name, overlay); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.Chart == nil {
		return nil
	}
	for f := range files {
		if strings.HasPrefix(f, s.Name+"/chart/") {
			return fmt.Errorf("services/%s has a chart, but release.yaml names %s of %s", s.Name, s.Chart.Path, s.Chart.Component)
		}
	}
	c, err := loadComponent(b.Source, s.Chart.Component, s.Name, s.Version)
	if err != nil {
		return err
	}
	g, err := b.goTool(false)
	if err != nil {
		return err
	}
	if err := c.checkVersion(ctx, g); err != nil {
		return err
	}
	// Downloads the module unless it is in the cache, and verifies it with go.sum.
	if _, err := g.run(ctx, c.dir, "mod", "download", c.Module); err != nil {
		return err
	}
	dir, err := g.run(ctx, c.dir, "list", "-m", "-f", "{{.Dir}}", c.Module)
	if err != nil {
		return err
	}
	chart := filepath.Join(strings.TrimSpace(string(dir)), filepath.FromSlash(s.Chart.Path))
	return addTree(files, path.Join(s.Name, "chart"), chart)
}

// addTree adds every file below dir under prefix.
func addTree(files map[string][]byte, prefix, dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		files[path.Join(prefix, filepath.ToSlash(rel))] = data
		return err
	})
}

// zipFiles writes an archive that depends only on names and content.
func zipFiles(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("write services archive: %w", err)
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
