package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
)

// typed are the keys of a file with the Go value that they are read into.
type typed struct {
	keys key
	in   reflect.Value
}

// keyTypes are the files of a configuration with every default.
func keyTypes() map[string]typed {
	c := New("local", pai.Pair{Kubernetes: "v0.11-pai", Services: "v0.11"}, []Machine{{Hostname: "pai-1", HostIP: "10.0.0.1", Role: RoleControlPlane, KeyfilePath: "/root/.ssh/key"}}, []string{testKey})
	c.Kubernetes.Backup = &Backup{To: "/srv/backups", Calendar: "daily", S3: &BackupS3{}} // which has defaults only if it is configured
	c.Services.AlertManager = AlertManager{Email: &EmailConfig{AdminReceiver: "ops@example.org", SMTPHost: "mail.example.org", SMTPFrom: "pai@example.org", Username: "pai", Password: "hunter2"},
		Webhooks: map[string]WebhookConfig{"oncall": {URL: "https://example.org/alerts", BearerToken: "token"}}}
	c.setDefaults()
	return map[string]typed{
		LayoutFile: {layoutKeys(), reflect.ValueOf(c.Layout)},
		KubernetesFile: {kubernetesKeys(), reflect.ValueOf(struct {
			Kubernetes Kubernetes `yaml:"kubernetes"`
		}{c.Kubernetes})},
		ServicesFile: {servicesKeys(), reflect.ValueOf(c.Services)},
	}
}

// readElsewhere are the keys that no field has, and why.
func readElsewhere(path string) string {
	switch path {
	case "schema-version":
		return "Layout.SchemaVersion is the oldest of all files"
	case "hadoop-resource-manager":
		return "its queues become virtual clusters"
	case "default-machine-properties":
		return "its values become those of the machines"
	}
	return ""
}

// eachKey calls do for each key with an effect that is not an object or a table: with its
// path, and the value of its field. The field of a key that no field has is not valid.
func eachKey(path string, k key, in reflect.Value, do func(path string, k key, field reflect.Value)) {
	if k.effect != active || readElsewhere(path) != "" {
		return
	}
	for in.IsValid() && in.Kind() == reflect.Pointer {
		if in.IsNil() {
			in = reflect.New(in.Type().Elem())
		}
		in = in.Elem()
	}
	switch {
	case k.shape == object:
		for _, child := range k.keys {
			eachKey(join(path, child.name), child, fieldNamed(in, child.name), do)
		}
	case k.shape == table || k.shape == list && k.item.shape == object:
		if in.IsValid() {
			first := reflect.New(in.Type().Elem()).Elem()
			if in.Kind() == reflect.Slice && in.Len() > 0 {
				first = in.Index(0)
			}
			in = first
		}
		eachKey(path+"[]", *k.item, in, do)
	default:
		do(path, k, in)
	}
}

// fieldNamed is the field of a struct with a name in YAML.
func fieldNamed(in reflect.Value, name string) reflect.Value {
	if !in.IsValid() || in.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for i := range in.NumField() {
		if tag, _, _ := strings.Cut(in.Type().Field(i).Tag.Get("yaml"), ","); tag == name {
			return in.Field(i)
		}
	}
	return reflect.Value{}
}

// A key that is checked and documented is also read.
func TestEveryKeyHasAField(t *testing.T) {
	t.Parallel()
	seen := 0
	for file, typed := range keyTypes() {
		eachKey("", typed.keys, typed.in, func(path string, _ key, field reflect.Value) {
			seen++
			if !field.IsValid() {
				t.Errorf("%s: no field of types.go has the YAML name of %s: the key would be accepted and ignored", file, path)
			}
		})
	}
	if seen < 30 {
		t.Errorf("got %d keys, want all of them", seen)
	}
}

// No format accepts a value with a line break in it: decoders such as that of base64 skip
// it, and other readers of the value do not.
func TestFormatsRefuseLineBreaks(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for file, typed := range keyTypes() {
		eachKey("", typed.keys, typed.in, func(path string, k key, field reflect.Value) {
			if k.shape == list {
				k = *k.item
			}
			for _, value := range texts(field) {
				if k.shape != text || k.format.check == nil || k.format.check(value) != "" {
					continue
				}
				tried[path] = true
				for i := range len(value) + 1 {
					for _, br := range []string{"\n", "\r", "\r\n"} {
						if broken := value[:i] + br + value[i:]; k.format.check(broken) == "" {
							t.Errorf("%s: %s accepts %q", file, path, broken)
						}
					}
				}
			}
		})
	}
	if len(tried) < 10 || !tried["cluster.common.trusted-bundle-keys"] {
		t.Errorf("tried %d keys: %v", len(tried), slices.Sorted(maps.Keys(tried)))
	}
}

// texts are the texts of a field.
func texts(field reflect.Value) (all []string) {
	switch {
	case !field.IsValid():
	case field.Kind() == reflect.String:
		all = append(all, field.String())
	case field.Kind() == reflect.Slice:
		for i := range field.Len() {
			all = append(all, texts(field.Index(i))...)
		}
	}
	return all
}

// The default in the documents is that of a configuration without the key.
func TestDefaultsAreWhatTheReferenceSays(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]string{
		"virtual-clusters[].task-disk-mb": "internal/job has the default; 0 stands for it",
		"machine-list[].keyfile-path":     "no file: the agent of ssh has the keys",
	}
	compared := 0
	for file, typed := range keyTypes() {
		eachKey("", typed.keys, typed.in, func(path string, k key, field reflect.Value) {
			want := strings.Trim(k.def, "`")
			if want == "" || want == "none" || strings.Contains(want, " ") || elsewhere[path] != "" || !field.IsValid() {
				return
			}
			compared++
			if field.Kind() == reflect.Slice && field.Len() == 1 {
				field = field.Index(0)
			}
			got := field.String()
			if field.CanInt() {
				got = strconv.FormatInt(field.Int(), 10)
			} else if field.Kind() == reflect.Bool {
				got = strconv.FormatBool(field.Bool())
			}
			if got != want {
				t.Errorf("%s: the default of %s is %s in its key, and %q without the key: set it in defaults.go", file, path, want, got)
			}
		})
	}
	if compared < 12 {
		t.Errorf("compared %d defaults, want all that are one value", compared)
	}
}

// A configuration that is written has every key that it was read with.
func TestEveryKeyIsWritten(t *testing.T) {
	t.Parallel()
	var c Config
	fill(reflect.ValueOf(&c).Elem())
	c.Layout.SchemaVersion = Schema
	for file, typed := range keyTypes() {
		data, err := render(file, c)
		if err != nil {
			t.Fatal(err)
		}
		var written yaml.Node
		if err := yaml.Unmarshal(data, &written); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, data)
		}
		eachKey("", typed.keys, typed.in, func(path string, _ key, field reflect.Value) {
			if field.IsValid() && !has(written.Content[0], strings.Split(strings.ReplaceAll(path, "[]", ".[]"), ".")) {
				t.Errorf("%s: %s is lost when a configuration is written: add it to files.tmpl", file, path)
			}
		})
	}
}

// fill sets every field to a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("some").Convert(v.Type().Key()), value)
	case reflect.String:
		v.SetString("some")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	default:
		panic(fmt.Sprintf("a configuration has a field of the kind %s: give it a value here", v.Kind()))
	}
}

// has reports whether a document has a key. [] is any entry of a list or a table.
func has(n *yaml.Node, path []string) bool {
	if len(path) == 0 {
		return true
	}
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 1 && (path[0] == "[]" || n.Content[i-1].Value == path[0]), n.Kind == yaml.SequenceNode && path[0] == "[]":
			if has(child, path[1:]) {
				return true
			}
		}
	}
	return false
}
