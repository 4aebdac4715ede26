package config

import (
	"fmt"
	"strings"
)

// Reference is the documentation of the keys of one file, in both schemas, as a
// table in Markdown. The file of the machines is named LayoutFile.
func Reference(file string) string {
	root := layoutKeys()
	switch file {
	case KubernetesFile:
		root = kubernetesKeys()
	case ServicesFile:
		root = servicesKeys()
	}
	var rows, without []string
	seen := map[string]bool{}
	var walk func(path string, k key, since, until int)
	walk = func(path string, k key, since, until int) {
		since, until = max(since, k.since), max(until, k.until)
		switch {
		case k.effect == ignored:
			without = append(without, "`"+path+"`")
			return
		case k.shape == object && k.name != "" && k.meaning != "" || k.shape != object && k.shape != table:
			if k.shape == list && k.item.shape == object || seen[path] {
				break
			}
			seen[path] = true
			rows = append(rows, row(path, k, since, until))
		}
		switch {
		case k.shape == table:
			walk(path+".NAME", *k.item, since, until)
		case k.shape == list && k.item.shape == object:
			walk(path+"[]", *k.item, since, until)
		}
		for _, c := range k.keys {
			walk(join(path, c.name), c, since, until)
		}
	}
	walk("", root, 1, 0)
	out := "| key | type | default | schema | meaning | effect of a change on running jobs |\n| --- | --- | --- | --- | --- | --- |\n" + strings.Join(rows, "\n") + "\n"
	if len(without) > 0 {
		out += "\nWithout effect; `config check` prints a note: " + strings.Join(without, ", ") + ".\n"
	}
	return out
}

func row(path string, k key, since, until int) string {
	kind := k.format.name
	switch {
	case k.shape == list:
		kind = "list of " + k.item.format.name
	case k.shape == object:
		kind = "keys"
	case k.shape == flag:
		kind = "`true` or `false`"
	case kind == "" && k.shape == number:
		kind = "number"
	case kind == "":
		kind = "text"
	}
	if k.unit != "" {
		kind += ", " + k.unit
	}
	def := k.def
	if k.required {
		def = "required"
	}
	schema := fmt.Sprintf("since %d", since)
	if until > 0 {
		schema = fmt.Sprintf("%d only", until)
	}
	meaning := k.meaning
	if k.effect == informational {
		meaning += "; informational"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |", path, kind, def, schema, meaning, k.jobs)
}
