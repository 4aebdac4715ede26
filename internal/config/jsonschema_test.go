package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/test/configtest"
)

func compiled(t *testing.T, file string, schema int) *jsonschema.Schema {
	t.Helper()
	data, err := config.JSONSchema(file, schema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML text as the validator of an editor reads it.
func asJSON(content string) (any, error) {
	var v any
	if err := yaml.Unmarshal([]byte(content), &v); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// The JSON schemas accept what a check accepts.
func TestSchemasAcceptValidFiles(t *testing.T) {
	t.Parallel()
	schemas := map[int]map[string]*jsonschema.Schema{}
	for v := config.OldestSchema; v <= config.Schema; v++ {
		schemas[v] = map[string]*jsonschema.Schema{}
		for _, file := range config.FilesOf(v) {
			schemas[v][file] = compiled(t, file, v)
		}
	}
	root := configtest.Root(t)
	rapid.Check(t, func(t *rapid.T) {
		c := configtest.Older().Draw(t, "configuration")
		dir := c.Write(t, root)
		allows := func(schema int, files map[string]string) {
			for _, file := range config.FilesOf(schema) {
				doc, err := asJSON(files[file])
				if err != nil {
					t.Fatal(err)
				}
				if err := schemas[schema][file].Validate(doc); err != nil {
					t.Fatalf("%v\n%s", err, files[file])
				}
			}
		}
		allows(1, c.Files)
		u, err := config.Upgrade(dir, config.MigrationTarget{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(); err != nil {
			t.Fatal(err)
		}
		allows(2, contents(t, dir))
	})
}

// The JSON schemas refuse mistakes in single values and keys.
func TestSchemasRefuseMistakes(t *testing.T) {
	t.Parallel()
	const machine = "machine-list: [{hostname: a, hostip: 10.0.0.1, k8s-role: master"
	for _, tc := range []struct {
		file    string
		content string
	}{
		{config.LayoutFile, machine + ", color: blue}]"},
		{config.LayoutFile, machine + ", sshport: 70000}]"},
		{config.LayoutFile, machine + ", sshport: here}]"},
		{config.LayoutFile, "machine-list: [{hostname: A, hostip: 10.0.0.1, k8s-role: master}]"},
		{config.LayoutFile, "machine-list: [{hostname: a, k8s-role: master}]"},
		{config.LayoutFile, "machine-list: [{hostname: a, hostip: 10.0.0.1, k8s-role: boss}]"},
		{config.LayoutFile, "machine-list: []"},
		{config.LayoutFile, "default-machine-properties: {}\n" + machine + "}]"},
		{config.KubernetesFile, "kubernetes: {version: v1.36.3}"},
		{config.ServicesFile, "restserver: {}\ncluster: {common: {cluster-id: a, release: v0.9, trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]}}"},
	} {
		doc, err := asJSON(tc.content)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled(t, tc.file, 2).Validate(doc); err == nil {
			t.Errorf("%s accepts: %s", tc.file, tc.content)
		}
	}
	doc, err := asJSON(machine + "}]")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled(t, config.LayoutFile, 2).Validate(doc); err != nil {
		t.Errorf("a valid one: %v", err)
	}
}

// A written file names its schema, which exists.
func TestWrittenFilesNameTheirSchema(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := config.Load("testdata/written/schema-2")
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Write(dir, *c); err != nil {
		t.Fatal(err)
	}
	for _, file := range config.FilesOf(config.Schema) {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		name, ok := bytes.CutPrefix(bytes.SplitN(text, []byte("\n"), 2)[0], []byte("# yaml-language-server: $schema="))
		if !ok {
			t.Fatalf("%s does not name its schema", file)
		}
		got, err := os.ReadFile(filepath.Join(dir, string(name)))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := config.JSONSchema(file, config.Schema); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %s is not the schema: %v", file, name, err)
		}
	}
}
