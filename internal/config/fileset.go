package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// fileSet is the files of a configuration as they are in its directory, parsed.
// They are keyed by their names in the newest schema: the machines are always
// LayoutFile's, whatever their file is called.
type fileSet struct {
	schema   int // of the machines' file, which decides
	data     map[string][]byte
	roots    map[string]*yaml.Node // of the files that could be parsed
	problems map[string]Problems   // of the others
	// ignoredFiles exist and are not read.
	ignoredFiles []string
}

// fileName is what a file is called in its directory.
func (f *fileSet) fileName(name string) string {
	if name == LayoutFile && f.schema == 1 {
		return ClusterFile
	}
	return name
}

// schemaOf is the schema version of one file: the one it names, or that of the
// machines' file. An unknown one counts as the newest; the shape check reports it.
func (f *fileSet) schemaOf(name string) int {
	if name == LayoutFile {
		return f.schema
	}
	if named := plain(find(f.roots[name], "schema-version")); named != "" {
		if n, err := strconv.Atoi(named); err == nil && n >= OldestSchema && n < Schema {
			return n
		}
		return Schema
	}
	return f.schema
}

// namesSchema reports whether a file names its own schema version.
func (f *fileSet) namesSchema(name string) bool { return find(f.roots[name], "schema-version") != nil }

// lowest is the oldest schema of any file.
func (f *fileSet) lowest() int {
	lowest := f.schema
	for name := range f.roots {
		lowest = min(lowest, f.schemaOf(name))
	}
	return lowest
}

// parseFiles recognizes the files by their names: a layout.yaml has schema 2;
// without one, a cluster-configuration.yaml has schema 1.
func parseFiles(content map[string][]byte) *fileSet {
	f := &fileSet{schema: Schema, data: map[string][]byte{}, roots: map[string]*yaml.Node{}, problems: map[string]Problems{}}
	_, newer := content[LayoutFile]
	_, older := content[ClusterFile]
	switch {
	case older && newer:
		f.ignoredFiles = append(f.ignoredFiles, ClusterFile)
	case older:
		f.schema = 1
	}
	if _, exists := content[RolesFile]; exists {
		f.ignoredFiles = append(f.ignoredFiles, RolesFile)
	}
	for _, name := range files {
		if data, exists := content[f.fileName(name)]; exists {
			f.data[name] = data
			if root, problems := parse(data); root != nil {
				f.roots[name] = root
			} else {
				f.problems[name] = problems
			}
		}
	}
	return f
}

// isMissing is the message for a file that does not exist.
const isMissing = "is missing"

// readFiles reads the files of a configuration that exist, and reports those
// that are missing or cannot be read. Files that have no effect are in content
// without their bytes.
func readFiles(dir string) (content map[string][]byte, problems Problems) {
	content = map[string][]byte{}
	machines := LayoutFile
	if exists(dir, ClusterFile) {
		if exists(dir, LayoutFile) {
			content[ClusterFile] = nil
		} else {
			machines = ClusterFile
		}
	}
	if exists(dir, RolesFile) {
		content[RolesFile] = nil
	}
	for _, name := range []string{machines, KubernetesFile, ServicesFile} {
		path := filepath.Join(dir, name)
		data, err := readFile(path)
		switch {
		case err == nil:
			content[name] = data
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fileProblem(path, isMissing))
		default:
			problems = append(problems, fileProblem(path, err.Error()))
		}
	}
	return content, problems
}

// exists reports whether a directory has an entry, which can be a broken link.
func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}
