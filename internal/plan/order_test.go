package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyServices draws services whose prerequisites have smaller numbers, so that
// there is no cycle.
func anyServices(t *rapid.T) []ServiceSpec {
	var services []ServiceSpec
	for i := range rapid.IntRange(1, 8).Draw(t, "services") {
		s := ServiceSpec{Name: fmt.Sprintf("s%d", i)}
		for j := range i {
			if rapid.Bool().Draw(t, fmt.Sprintf("%d needs %d", i, j)) {
				s.Prerequisites = append(s.Prerequisites, fmt.Sprintf("s%d", j))
			}
		}
		services = append(services, s)
	}
	return rapid.Permutation(services).Draw(t, "order")
}

func TestOrderPutsPrerequisitesFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		services := anyServices(t)
		ordered, err := Order(services)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range ordered {
			for _, p := range s.Prerequisites {
				if !slices.Contains(names, p) {
					t.Fatalf("got %s before its prerequisite %s", s.Name, p)
				}
			}
			names = append(names, s.Name)
		}
		if len(names) != len(services) {
			t.Fatalf("got %v, want all of %d services", names, len(services))
		}
		again, err := Order(rapid.Permutation(services).Draw(t, "again"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range again {
			if again[i].Name != names[i] {
				t.Fatalf("got %s at place %d, want %s as for another order of the same services", again[i].Name, i, names[i])
			}
		}
	})
}

func TestOrderSortsOrFails(t *testing.T) {
	name := func(services []ServiceSpec) string {
		var names []string
		for _, s := range services {
			names = append(names, s.Name)
		}
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		name, want, err string
		services        []ServiceSpec
	}{
		{"by prerequisites, then name", "b c a", "", []ServiceSpec{{Name: "a", Prerequisites: []string{"c"}}, {Name: "c", Prerequisites: []string{"b"}}, {Name: "b"}}},
		{"circle", "", "circle", []ServiceSpec{{Name: "a", Prerequisites: []string{"b"}}, {Name: "b", Prerequisites: []string{"a"}}}},
		{"missing", "", "a needs b, which does not exist", []ServiceSpec{{Name: "a", Prerequisites: []string{"b"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Order(c.services)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil || name(got) != c.want {
				t.Errorf("got %q, %v, want %q", name(got), err, c.want)
			}
		})
	}
}
