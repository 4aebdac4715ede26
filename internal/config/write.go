package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
)

//go:embed files.tmpl
var filesTemplate string

// New is a configuration with every default, as `paictl up` makes it. Machines
// need a name, an address, and a role; trustedKeys are base64 Ed25519 public
// keys. It has the newest schema; set Layout.SchemaVersion for an older one.
func New(clusterID string, pair pai.Pair, machines []Machine, trustedKeys []string) Config {
	c := Config{
		Layout:     Layout{SchemaVersion: Schema, MachineList: append([]Machine(nil), machines...)},
		Kubernetes: Kubernetes{Version: pair.Kubernetes},
		Services: Services{Cluster: Cluster{Common: Common{
			ClusterID: clusterID, Release: pai.Release(pair.Services), TrustedBundleKeys: append([]string(nil), trustedKeys...),
		}}},
	}
	c.setDefaults()
	return c
}

// Write puts a configuration into a directory as three commented files that
// name every key. It refuses one that would not load. It replaces all files, or
// none if it fails before the first is in place.
func Write(dir string, c Config) error {
	c.setDefaults()
	content := map[string][]byte{}
	for _, name := range FilesOf(c.Layout.SchemaVersion) {
		data, err := render(name, c)
		if err != nil {
			return fmt.Errorf("render %s: %w", name, err)
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
	return writeFiles(dir, content)
}

// writeSchemas writes the JSON schemas that the first lines of the files name.
func writeSchemas(dir string, schema int) error {
	schemas := filepath.Join(dir, schemaDir)
	if err := os.MkdirAll(schemas, 0o755); err != nil {
		return fmt.Errorf("write the schemas for editors: %w", err)
	}
	for _, name := range FilesOf(schema) {
		data, err := JSONSchema(name, schema)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(schemas, schemaName(name)), data, 0o644); err != nil {
			return fmt.Errorf("write the schemas for editors: %w", err)
		}
	}
	return nil
}

func render(name string, c Config) ([]byte, error) {
	t, err := template.New("files").Funcs(template.FuncMap{"y": scalar, "shared": sharedReach, "url": apiURL}).Parse(filesTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.ExecuteTemplate(&out, name, c)
	return out.Bytes(), err
}

// sharedReach holds the ssh settings that all machines share; schema 1 writes
// them to default-machine-properties.
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

// scalar writes one value as YAML on one line, quoted if necessary.
func scalar(value any) (string, error) {
	if text, ok := value.(string); ok && strings.ContainsAny(text, "\n\r\u0085\u2028\u2029") {
		value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: yaml.DoubleQuotedStyle}
	}
	out, err := yaml.Marshal(value)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(out), "\n")
	if strings.Contains(text, "\n") {
		return "", errors.New("a value has several lines") // which can be a secret
	}
	return text, nil
}
