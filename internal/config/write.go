package config

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

//go:embed files.tmpl
var filesTemplate string

// New is a configuration with every default, as `paictl up` makes it. Machines
// need a name, an address and a role; trustedKeys are base64 Ed25519 public
// keys. It is of the newest schema; set Layout.SchemaVersion for an older one.
func New(clusterID string, pair pai.Pair, machines []Machine, trustedKeys []string) Config {
	c := Config{
		Layout:     Layout{SchemaVersion: Schema, MachineList: append([]Machine(nil), machines...)},
		Kubernetes: Kubernetes{Version: pair.Kubernetes},
		Services: Services{Cluster: Cluster{Common: Common{
			ClusterID: clusterID, Release: pair.Services, TrustedBundleKeys: append([]string(nil), trustedKeys...),
		}}},
	}
	c.setDefaults()
	return c
}

// Write puts a configuration into a folder as three commented files that name
// every key. It refuses one that would not load, and replaces either all
// files or, when it fails before the first is in place, none.
func Write(dir string, c Config) error {
	c.setDefaults()
	content := map[string][]byte{}
	for _, name := range filesOf(c.Layout.SchemaVersion) {
		data, err := render(name, c)
		if err != nil {
			return err
		}
		content[name] = data
	}
	if _, report := check(dir, content); len(report.Problems) > 0 {
		return &pai.Error{
			Code:    pai.CodeInvalid,
			Message: fmt.Sprintf("write configuration to %s: it would not be valid", dir),
			Err:     listed{report.Problems},
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := writeSchemas(dir, c.Layout.SchemaVersion); err != nil {
		return err
	}
	return replace(dir, content, modesIn(dir))
}

// writeSchemas puts the files' schemas where their first lines say.
func writeSchemas(dir string, schema int) error {
	folder := filepath.Join(dir, schemaDir)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write the schemas for editors: %w", err)
	}
	for _, name := range filesOf(schema) {
		data, err := JSONSchema(name, schema)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, schemaName(name)), data, 0o644); err != nil {
			return fmt.Errorf("write the schemas for editors: %w", err)
		}
	}
	return nil
}

// filesOf are the names of the files of a schema version, in reading order.
func filesOf(schema int) []string {
	if schema == 1 {
		return []string{ClusterFile, KubernetesFile, ServicesFile}
	}
	return files[:]
}

func render(name string, c Config) ([]byte, error) {
	t, err := template.New("files").Funcs(template.FuncMap{"y": scalar, "shared": sharedReach, "url": apiURL}).Parse(filesTemplate)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.ExecuteTemplate(&out, name, c); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// sharedReach is what all machines have in common of how they are reached,
// which schema 1 keeps in default-machine-properties.
func sharedReach(machines []Machine) Machine {
	if len(machines) == 0 {
		return Machine{}
	}
	shared := machines[0]
	for _, m := range machines[1:] {
		if m.SSHPort != shared.SSHPort {
			shared.SSHPort = 0
		}
		if m.Username != shared.Username {
			shared.Username = ""
		}
		if m.KeyfilePath != shared.KeyfilePath {
			shared.KeyfilePath = ""
		}
	}
	return shared
}

func apiURL(c Config) string {
	return fmt.Sprintf("https://%s:%d", c.ControlPlane().HostIP, c.Kubernetes.APIServersPort)
}

// scalar writes one value as YAML, quoted where it must be.
func scalar(value any) (string, error) {
	out, err := yaml.Marshal(value)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(out), "\n")
	if strings.Contains(text, "\n") {
		return "", fmt.Errorf("value %q has several lines", text)
	}
	return text, nil
}

// replace writes all files beside their places first and renames them after,
// so that no reader sees half a file and a full disk changes nothing.
func replace(dir string, content map[string][]byte, mode func(name string) os.FileMode) error {
	var staged []*atomicfile.Staged
	for _, name := range append(files[:], ClusterFile) {
		data, changed := content[name]
		if !changed {
			continue
		}
		s, err := atomicfile.Stage(filepath.Join(dir, name), mode(name), func(w io.Writer) error { _, err := w.Write(data); return err })
		if err != nil {
			return fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
		}
		defer s.Discard()
		staged = append(staged, s)
	}
	for _, s := range staged {
		if err := s.Commit(); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return nil
}

// modesIn tells what mode a folder's file gets.
func modesIn(dir string) func(name string) os.FileMode {
	return func(name string) os.FileMode { return modeOf(filepath.Join(dir, name)) }
}

// modeOf is the mode of a file, or what a new one gets: it may hold passwords.
func modeOf(path string) os.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o600
}
