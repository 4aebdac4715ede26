package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// schemaDir is in the directory of a configuration, for editors: the first line
// of a generated file names the schema in it.
const schemaDir = ".schema"

// schemaName is the JSON Schema of a file.
func schemaName(file string) string { return strings.TrimSuffix(file, ".yaml") + ".json" }

// FilesOf are the names of the files of a schema version, in reading order.
func FilesOf(schema int) []string {
	if schema == 1 {
		return []string{ClusterFile, KubernetesFile, ServicesFile}
	}
	return files[:]
}

// JSONSchema is the schema of one file of one version, for editors. It comes from
// the definitions that a check uses, without the rules between values and files.
func JSONSchema(file string, schema int) ([]byte, error) {
	root := schemaFor(file, schema).json()
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = fmt.Sprintf("PAI %s, schema %d", file, schema)
	if file == ServicesFile && schema == 1 {
		for _, s := range renamedKeys() {
			allowOldName(root, s)
		}
		properties(root)["hadoop"] = map[string]any{"deprecated": true, "description": "Has no effect except for virtualClusters."}
	}
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of %s: %w", file, err)
	}
	return append(data, '\n'), nil
}

func properties(object map[string]any) map[string]any {
	p, _ := object["properties"].(map[string]any)
	return p
}

// json is the key as a JSON Schema. A key without a value counts as omitted, so
// null is valid for a key that is not required.
func (k key) json() map[string]any {
	s := map[string]any{}
	switch k.shape {
	case object:
		s["type"], s["properties"] = "object", map[string]any{}
		var required []string
		for _, c := range k.keys {
			properties(s)[c.name] = c.json()
			if c.required {
				required = append(required, c.name)
			}
		}
		if len(required) > 0 {
			s["required"] = required
		}
		if k.effect != ignored {
			s["additionalProperties"] = false
		}
	case table:
		s["type"], s["additionalProperties"] = "object", k.item.json()
		if pattern := k.item.format.schema["pattern"]; pattern != nil {
			s["propertyNames"] = map[string]any{"pattern": pattern}
		}
	case list:
		s["type"], s["items"] = "array", k.item.json()
		if k.required {
			s["minItems"] = 1
		}
	case text:
		s["type"] = []string{"string", "number", "boolean"}
	case number:
		s["type"] = "integer"
	case flag:
		s["type"] = "boolean"
	case anything:
	}
	if k.shape == text || k.shape == number {
		for name, value := range k.format.schema {
			s[name] = value
		}
		if len(k.format.schema) > 0 && k.shape == text {
			s["type"] = "string"
		}
	}
	if !k.required && k.name != "" && s["type"] != nil && s["enum"] == nil {
		s["type"] = orNull(s["type"])
	}
	if d := k.description(); d != "" {
		s["description"] = d
	}
	if k.effect == ignored {
		s["deprecated"] = true
	}
	return s
}

func orNull(of any) []string {
	if several, ok := of.([]string); ok {
		return append(append([]string{}, several...), "null")
	}
	return []string{fmt.Sprint(of), "null"}
}

// description is the text that an editor shows for a key.
func (k key) description() string {
	if k.effect == ignored {
		return "Has no effect in this release."
	}
	var parts []string
	add := func(format, value string) {
		if value != "" {
			parts = append(parts, fmt.Sprintf(format, strings.ReplaceAll(value, "`", "")))
		}
	}
	add("%s.", k.meaning)
	add("In %s.", k.unit)
	add("Default: %s.", k.def)
	add("Effect of a change on running jobs: %s.", k.jobs)
	return strings.Join(parts, " ")
}

// allowOldName adds the old name of a key.
func allowOldName(root map[string]any, s renamedKey) {
	to := lookUp(root, s.to)
	older := map[string]any{"deprecated": true, "description": "Renamed to " + s.to + "."}
	if to != nil {
		for _, keep := range []string{"type", "properties", "additionalProperties", "minimum", "maximum", "pattern"} {
			if to[keep] != nil {
				older[keep] = to[keep]
			}
		}
	}
	// The key is required under one name or the other.
	toParent, toName := parentOf(s.to)
	if around := lookUp(root, toParent); around != nil {
		if required, some := around["required"].([]string); some {
			around["required"] = slices.DeleteFunc(required, func(n string) bool { return n == toName })
		}
	}
	at := root
	parent, name := parentOf(s.from)
	for _, part := range splitPath(parent) {
		next, _ := properties(at)[part].(map[string]any)
		if next == nil || properties(next) == nil {
			next = map[string]any{"type": "object", "properties": map[string]any{}, "deprecated": true}
			properties(at)[part] = next
		}
		at = next
	}
	properties(at)[name] = older
}

func lookUp(root map[string]any, path string) map[string]any {
	at := root
	for _, part := range splitPath(path) {
		at, _ = properties(at)[part].(map[string]any)
		if at == nil {
			return nil
		}
	}
	return at
}
