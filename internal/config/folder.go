package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// folder is the files of a configuration as they lie in their folder, parsed.
// They are keyed by their names in the newest schema: the machines are always
// LayoutFile's, whatever their file is called.
type folder struct {
	schema int // of the machines' file, which decides
	data   map[string][]byte
	roots  map[string]*yaml.Node // of the files that could be parsed
	faults map[string][]fault
	// leftOver are files that are there and are not read.
	leftOver []string
}

// fileName is what a file is called in its folder.
func (f *folder) fileName(name string) string {
	if name == LayoutFile && f.schema == 1 {
		return ClusterFile
	}
	return name
}

// schemaOf is the schema version of one file: what it says, else that of the
// machines' file. Whatever it is not gets the newest, and a fault elsewhere.
func (f *folder) schemaOf(name string) int {
	if name == LayoutFile {
		return f.schema
	}
	if said := plain(findIn(f.roots[name], "schema-version")); said != "" {
		if n, err := strconv.Atoi(said); err == nil && n >= OldestSchema && n < Schema {
			return n
		}
		return Schema
	}
	return f.schema
}

// says reports whether a file names its own schema version.
func (f *folder) says(name string) bool { return findIn(f.roots[name], "schema-version") != nil }

func findIn(root *yaml.Node, path string) *yaml.Node {
	if root == nil {
		return nil
	}
	return find(root, path)
}

// lowest is the oldest schema of any file.
func (f *folder) lowest() int {
	lowest := f.schema
	for name := range f.roots {
		lowest = min(lowest, f.schemaOf(name))
	}
	return lowest
}

// parseFolder recognises the files by their names: a layout.yaml is of schema
// 2, and where there is none a cluster-configuration.yaml is of schema 1.
func parseFolder(content map[string][]byte) *folder {
	f := &folder{schema: Schema, data: map[string][]byte{}, roots: map[string]*yaml.Node{}, faults: map[string][]fault{}}
	_, newer := content[LayoutFile]
	older, both := content[ClusterFile]
	if both && !newer {
		f.schema = 1
	} else if both {
		f.leftOver = append(f.leftOver, ClusterFile)
	}
	if _, there := content[RolesFile]; there {
		f.leftOver = append(f.leftOver, RolesFile)
	}
	for _, name := range files {
		data, there := content[name]
		if name == LayoutFile && f.schema == 1 {
			data, there = older, true
		}
		if !there {
			continue
		}
		f.data[name] = data
		root, faults := parse(data)
		f.faults[name] = faults
		if root != nil {
			f.roots[name] = root
		}
	}
	return f
}

// isMissing is what is said about a file that is not there.
const isMissing = "is missing"

// readFolder reads what is there of a configuration's files. Those that are
// missing, or cannot be read, are named in problems.
func readFolder(dir string) (content map[string][]byte, problems Problems) {
	content = map[string][]byte{}
	read := func(name string) error {
		data, err := readFile(filepath.Join(dir, name))
		if err == nil {
			content[name] = data
		}
		return err
	}
	missing := func(name string, err error) {
		message := isMissing
		if !errors.Is(err, fs.ErrNotExist) {
			message = err.Error()
		}
		problems = append(problems, Problem{filepath.Join(dir, name), 1, 1, message})
	}
	machines := LayoutFile
	if _, err := os.Lstat(filepath.Join(dir, LayoutFile)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(dir, ClusterFile)); err == nil {
			machines = ClusterFile
		}
	} else if _, err := os.Lstat(filepath.Join(dir, ClusterFile)); err == nil {
		content[ClusterFile] = nil // is there, and nobody reads it
	}
	for _, name := range []string{machines, KubernetesFile, ServicesFile} {
		if err := read(name); err != nil {
			missing(name, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, RolesFile)); err == nil {
		content[RolesFile] = nil
	}
	return content, problems
}
