package plan

import (
	"fmt"
	"strings"
)

const (
	shownFields = 40
	shownWidth  = 160
)

// DiffText shows what each step of a plan changes to people.
func DiffText(p Plan, changes map[StepID][]StepDiff) string {
	var b strings.Builder
	for _, s := range p.Steps {
		list := changes[s.ID]
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", s.ID)
		stamped := 0
		for _, c := range list {
			if onlyStamp(c) {
				stamped++
				continue
			}
			writeChange(&b, c)
		}
		if stamped > 0 {
			fmt.Fprintf(&b, "  %-8s %s, only in descriptions and in what they say of where they come from\n", Changed, count(stamped, "other object"))
		}
	}
	if b.Len() == 0 {
		return "\nNo object, program or file changes.\n"
	}
	return b.String()
}

// onlyStamp reports whether nothing changes but what an object says of where
// it comes from, and descriptions.
func onlyStamp(c StepDiff) bool {
	return c.Action == Changed && c.Note == "" && len(c.Fields) > 0 && len(relevantFields(c)) == 0
}

// isProvenance reports whether a field only says where its object comes from: the
// release, the chart, the program that generated it.
func isProvenance(f FieldChange) bool {
	for _, name := range []string{"pai.dev/release", "helm.sh/chart", "app.kubernetes.io/version", "controller-gen.kubebuilder.io/version"} {
		if strings.HasSuffix(f.Path, "metadata.annotations["+name+"]") || strings.HasSuffix(f.Path, "metadata.labels["+name+"]") {
			return true
		}
	}
	return false
}

// relevantFields leaves out provenance, the descriptions in
// definitions of kinds, and of a version that comes or goes whole all but that.
func relevantFields(c StepDiff) []FieldChange {
	var list []FieldChange
	whole := map[string]bool{}
	for _, f := range c.Fields {
		version, rest := versionOf(f.Path)
		if rest == "name" {
			whole[version] = true
			list = append(list, FieldChange{Path: version, Old: f.Old, New: f.New})
		}
	}
	for _, f := range c.Fields {
		version, _ := versionOf(f.Path)
		schema := version != "" && strings.HasSuffix(f.Path, ".description")
		if !isProvenance(f) && !schema && !whole[version] {
			list = append(list, f)
		}
	}
	return list
}

// versionOf splits the path of a field in one version of a kind's definition;
// empty for others.
func versionOf(path string) (version, rest string) {
	const versions = "spec.versions["
	name, rest, found := strings.Cut(strings.TrimPrefix(path, versions), "].")
	if !found || !strings.HasPrefix(path, versions) {
		return "", ""
	}
	return versions + name + "]", rest
}

func writeChange(b *strings.Builder, c StepDiff) {
	line := fmt.Sprintf("  %-8s %s", c.Action, c.What)
	if c.Note != "" {
		line += " (" + c.Note + ")"
	}
	fmt.Fprintln(b, line)
	list := relevantFields(c)
	for i, f := range list {
		if i == shownFields {
			fmt.Fprintf(b, "      and %s more: -o json lists them\n", count(len(list)-i, "field"))
			return
		}
		path := f.Path
		if path != "" {
			path += ": "
		}
		switch {
		case f.Old == "":
			fmt.Fprintf(b, "      + %s%s\n", path, cut(f.New))
		case f.New == "":
			fmt.Fprintf(b, "      - %s%s\n", path, cut(f.Old))
		default:
			fmt.Fprintf(b, "      ~ %s%s → %s\n", path, cut(f.Old), cut(f.New))
		}
	}
}

// cut keeps a value on one line of bearable length.
func cut(s string) string {
	s = strings.ReplaceAll(s, "\n", "⏎")
	if r := []rune(s); len(r) > shownWidth {
		return string(r[:shownWidth]) + "…"
	}
	return s
}
