package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// StepDiff is one thing that a step changes: an object of the API, a program or
// a file of a machine.
type StepDiff struct {
	What   string        `json:"what"`   // "Deployment pai-system/kueue", "program etcd", "file /opt/pai/…"
	Action string        `json:"action"` // created, changed, deleted, kept
	Fields []FieldChange `json:"fields,omitempty"`
	// Restarts is set where the pods of a workload are replaced because of it.
	Restarts bool `json:"restarts,omitempty"`
	// Note says what comes of it, or why it is not known.
	Note string `json:"note,omitempty"`
}

// Restarts lists the workloads whose pods the steps of a plan would replace, in
// their order.
func Restarts(p Plan, changes map[StepID][]StepDiff) []string {
	found := []string{}
	for _, s := range p.Steps {
		for _, c := range changes[s.ID] {
			if c.Restarts {
				found = append(found, c.What)
			}
		}
	}
	return found
}

// FieldChange is one field before and after; empty where it is not there.
type FieldChange struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// The values of StepDiff.Action.
const (
	Created = "created"
	Changed = "changed"
	Deleted = "deleted"
	Kept    = "kept" // no longer wanted, and not deleted
)

// A Differ is a Doer that can say what its Do would change, changing nothing.
type Differ interface {
	Diff(ctx context.Context, s Step) ([]StepDiff, error)
}

// Fields lists the fields in which two values of JSON's types differ. Items of
// a list that have a name are compared by it, plain ones by whether they are
// there, all others by their place.
func Fields(before, after any) []FieldChange {
	var d fields
	d.compare("", before, after)
	return d.found
}

type fields struct{ found []FieldChange }

func (d *fields) compare(path string, before, after any) {
	before, after = likeOther(before, after), likeOther(after, before)
	switch b := before.(type) {
	case map[string]any:
		if a, ok := after.(map[string]any); ok {
			for _, key := range keysOf(b, a) {
				d.compare(join(path, key), b[key], a[key])
			}
			return
		}
	case []any:
		if a, ok := after.([]any); ok {
			d.lists(path, b, a)
			return
		}
	}
	if d.texts(path, before, after) {
		return
	}
	old, now := Compact(before), Compact(after)
	if old != now {
		d.found = append(d.found, FieldChange{Path: path, Old: old, New: now})
	}
}

// texts lists the lines that differ where both are texts of several, as files
// in a ConfigMap are; false where they are not, or differ in other things.
func (d *fields) texts(path string, before, after any) bool {
	b, isText := before.(string)
	a, isToo := after.(string)
	if !isText || !isToo || !strings.Contains(b, "\n") || !strings.Contains(a, "\n") {
		return false
	}
	lines := Lines(b, a)
	for _, l := range lines {
		d.found = append(d.found, FieldChange{Path: path, Old: l.Old, New: l.New})
	}
	return len(lines) > 0
}

// likeOther is an empty map or list for nothing where the other side is one
// with content, so that what comes or goes whole is listed by its fields, too.
func likeOther(v, other any) any {
	if v != nil {
		return v
	}
	switch o := other.(type) {
	case map[string]any:
		if len(o) > 0 {
			return map[string]any{}
		}
	case []any:
		if len(o) > 0 {
			return []any{}
		}
	}
	return nil
}

func (d *fields) lists(path string, before, after []any) {
	if b, a := itemsByName(before), itemsByName(after); b != nil && a != nil {
		for _, name := range keysOf(b, a) {
			d.compare(path+"["+name+"]", value(b, name), value(a, name))
		}
		return
	}
	if plain(before) && plain(after) {
		for _, v := range missing(before, after) {
			d.found = append(d.found, FieldChange{Path: path + "[]", Old: v})
		}
		for _, v := range missing(after, before) {
			d.found = append(d.found, FieldChange{Path: path + "[]", New: v})
		}
		return
	}
	for i := range max(len(before), len(after)) {
		d.compare(fmt.Sprintf("%s[%d]", path, i), at(before, i), at(after, i))
	}
}

// itemsByName returns the items of a list by name; nil if a name is missing or
// not unique.
func itemsByName(list []any) map[string]map[string]any {
	items := map[string]map[string]any{}
	for _, v := range list {
		item, _ := v.(map[string]any)
		name, _ := item["name"].(string)
		if _, twice := items[name]; name == "" || twice {
			return nil
		}
		items[name] = item
	}
	return items
}

// value is nil, and not an empty map, where there is none.
func value(items map[string]map[string]any, name string) any {
	if item, ok := items[name]; ok {
		return item
	}
	return nil
}

func plain(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

// missing lists the values of a that b has fewer of.
func missing(a, b []any) []string {
	left := map[string]int{}
	for _, v := range b {
		left[Compact(v)]++
	}
	var found []string
	for _, v := range a {
		text := Compact(v)
		if left[text]--; left[text] < 0 {
			found = append(found, text)
		}
	}
	return found
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func join(path, key string) string {
	if strings.ContainsAny(key, "./[] ") {
		key = "[" + key + "]"
	} else if path != "" {
		key = "." + key
	}
	return path + key
}

// Compact is a value on one line: text as it is, everything else as JSON;
// empty for none.
func Compact(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if v == "" {
			return `""`
		}
		return v
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// Lines lists the lines that one text has and the other has not.
func Lines(before, after string) []FieldChange {
	split := func(s string) []any {
		var list []any
		for line := range strings.SplitSeq(s, "\n") {
			if line = strings.TrimSuffix(strings.TrimSpace(line), ` \`); line != "" && !strings.HasPrefix(line, "#") {
				list = append(list, line)
			}
		}
		return list
	}
	var d fields
	d.lists("", split(before), split(after))
	for i := range d.found {
		d.found[i].Path = ""
	}
	return d.found
}

// ProgramChanges lists the programs whose version a step changes.
func ProgramChanges(s Step, pins Pins) []StepDiff {
	role := s.Role
	if roles := s.Kind.Traits().Roles; len(roles) > 0 {
		role = roles[0]
	}
	if role == "" {
		return nil
	}
	var changes []StepDiff
	for _, p := range programsOf(role) {
		old, now := pins[s.From.Kubernetes().Label()][p], pins[s.To.Kubernetes().Label()][p]
		if old == now {
			continue
		}
		action := Changed
		if old == "" {
			action = Created
		}
		changes = append(changes, StepDiff{What: "program " + p, Action: action, Fields: []FieldChange{{Path: "version", Old: old, New: now}}})
	}
	return changes
}
