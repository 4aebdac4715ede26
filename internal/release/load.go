package release

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
)

// ManifestFile is the name of the manifest in a release's directory.
const ManifestFile = "release.yaml"

// Load reads every <release>/release.yaml of fsys, oldest release first. Its
// error has all problems of all manifests.
func Load(fsys fs.FS) ([]Manifest, error) { return load(fsys, Manifest.checkContent) }

// LoadRows is Load for manifests that can have the row of the support plan alone,
// which is enough to plan the hops of an upgrade.
func LoadRows(fsys fs.FS) ([]Manifest, error) {
	return load(fsys, func(Manifest) error { return nil })
}

func load(fsys fs.FS, checkContent func(Manifest) error) ([]Manifest, error) {
	files, err := fs.Glob(fsys, "*/"+ManifestFile)
	if err != nil {
		return nil, fmt.Errorf("find releases: %w", err)
	}
	if len(files) == 0 {
		return nil, pai.Errorf(pai.CodeInvalid, "name a directory that has a directory with a "+ManifestFile+" per release", "no releases found")
	}
	var manifests []Manifest
	var problems []error
	for _, file := range files {
		m, _, err := loadOne(fsys, file)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if err := checkContent(m); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file, err))
		}
		manifests = append(manifests, m)
	}
	problems = append(problems, checkTogether(manifests)...)
	if len(problems) > 0 {
		return nil, &pai.Error{Code: pai.CodeInvalid, Message: "invalid releases", Err: errors.Join(problems...)}
	}
	slices.SortFunc(manifests, func(a, b Manifest) int {
		return a.Metadata.Name.Compare(b.Metadata.Name)
	})
	return manifests, nil
}

// loadOne reads one manifest and returns its content, too.
func loadOne(fsys fs.FS, file string) (Manifest, []byte, error) {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("read release: %w", err)
	}
	m, err := parseManifest(data)
	if dir := path.Base(path.Dir(file)); err == nil && dir != string(m.Metadata.Name) {
		err = fmt.Errorf("metadata.name is %q, want %q, the name of its directory", m.Metadata.Name, dir)
	}
	if err == nil && string(m.Services.Version) != string(m.Metadata.Name) { // configurations name the services by their release
		err = fmt.Errorf("services.version is %s, want %s, the name of the release", m.Services.Version, m.Metadata.Name)
	}
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, data, nil
}

// parseManifest reads and checks one manifest.
func parseManifest(data []byte) (Manifest, error) {
	if err := checkFormat(data); err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := decodeStrict(data, &m); err != nil {
		return Manifest{}, err
	}
	if problems := check(m); len(problems) > 0 {
		return Manifest{}, errors.Join(problems...)
	}
	return m, nil
}

// decodeStrict reads one YAML document and refuses unknown keys.
func decodeStrict(data []byte, v any) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(v); err != nil {
		return err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}
