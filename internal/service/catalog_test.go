package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

func folder(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestCatalogReportsEverythingAtOnce(t *testing.T) {
	_, err := Catalog(folder(map[string]string{
		"README.md":      "not a service",
		"a/service.yaml": "name: a\nprerequisites: [b]\njobImpact: none\nstate: none\n",
		"b/service.yaml": "name: b\nprerequisites: [c, nowhere]\njobImpact: none\nstate: none\n",
		"c/service.yaml": "name: c\nprerequisites: [a]\njobImpact: some\nstate: none\n",
		"d/service.yaml": "name: other\njobImpact: none\nstate: disk\ncolour: red\nomit: [NoSlash]\n",
		"f/service.yaml": "name: f\njobImpact: none\nstate: volume:images\n",
		"e/chart/x":      "a folder without service.yaml",
	}))
	if err == nil {
		t.Fatal("a catalog full of mistakes is accepted")
	}
	for _, want := range []string{
		`b/service.yaml: prerequisite "nowhere" does not exist`,
		`the services a → b → c → a need each other in a circle`,
		`c/service.yaml: jobImpact is "some", not one of none, submission, data-path`,
		`d/service.yaml: name is "other", the folder is "d"`,
		`field colour not found`,
		`state is "disk"`,
		`state is "volume:images", and a volume has the name of its service: volume:f`,
		`omit has "NoSlash", which is not Kind/name`,
		`e: read service.yaml`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if strings.Count(err.Error(), "in a circle") != 1 {
		t.Errorf("the one circle is not reported once:\n%v", err)
	}
	if pai.CodeOf(err) != pai.CodeInvalid {
		t.Errorf("its code is %s", pai.CodeOf(err))
	}
}

// anyCatalog draws services whose prerequisites have smaller numbers, so that
// there is no circle.
func anyCatalog(t *rapid.T) []Service {
	n := rapid.IntRange(1, 8).Draw(t, "services")
	var services []Service
	for i := range n {
		s := Service{Name: fmt.Sprintf("s%d", i), JobImpact: pai.ImpactNone, State: "none"}
		for j := range i {
			if rapid.Bool().Draw(t, fmt.Sprintf("%d needs %d", i, j)) {
				s.Prerequisites = append(s.Prerequisites, fmt.Sprintf("s%d", j))
			}
		}
		services = append(services, s)
	}
	return rapid.Permutation(services).Draw(t, "order")
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := anyCatalog(t)
		var all []string
		for _, s := range services {
			all = append(all, s.Name)
		}
		named := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[string]).Draw(t, "named")
		ordered, err := Order(services, named...)
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		for _, s := range ordered {
			order = append(order, s.Name)
		}
		for i, s := range ordered {
			for _, p := range s.Prerequisites {
				if at := slices.Index(order, p); at < 0 || at > i {
					t.Fatalf("%s needs %s, the order is %v", s.Name, p, order)
				}
			}
			neededBy := slices.ContainsFunc(ordered, func(o Service) bool { return slices.Contains(o.Prerequisites, s.Name) })
			if len(named) > 0 && !slices.Contains(named, s.Name) && !neededBy {
				t.Fatalf("%s is neither named nor needed: named %v, order %v", s.Name, named, order)
			}
		}
		for _, name := range named {
			if !slices.Contains(order, name) {
				t.Fatalf("%s is named and not in the order %v", name, order)
			}
		}
		if len(named) == 0 && len(order) != len(services) {
			t.Fatalf("the order %v leaves services out", order)
		}
		again, err := Order(rapid.Permutation(services).Draw(t, "again"), named...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range again {
			if again[i].Name != order[i] {
				t.Fatalf("another order of the same services: %s at place %d, was %s", again[i].Name, i, order[i])
			}
		}
	})
}

func TestOrderOfUnknownService(t *testing.T) {
	if _, err := Order([]Service{{Name: "a"}}, "b"); err == nil || pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("order of an unknown service: %v, want an error about the usage", err)
	}
}
