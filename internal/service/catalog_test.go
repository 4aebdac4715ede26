package service

import (
	"strings"
	"testing"
	"testing/fstest"

	"pai.dev/pai/internal/pai"
)

func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestCatalogReportsEverythingAtOnce(t *testing.T) {
	_, err := Catalog(tree(map[string]string{
		"README.md":         "not a service",
		"a/service.yaml":    "name: a\nprerequisites: [b]\njobImpact: none\nstate: none\n",
		"b/service.yaml":    "name: b\nprerequisites: [c, nowhere]\njobImpact: none\nstate: none\n",
		"c/service.yaml":    "name: c\nprerequisites: [a]\njobImpact: some\nstate: none\n",
		"d/service.yaml":    "name: other\njobImpact: none\nstate: disk\ncolor: red\nomit: [NoSlash]\nbeside: [a]\n",
		"f/service.yaml":    "name: f\njobImpact: none\nstate: volume:images\n",
		"lock/service.yaml": "name: lock\njobImpact: none\nstate: volume:lock\n",
		"e/chart/x":         "a directory without service.yaml",
	}))
	if err == nil {
		t.Fatal("got no error for a catalog full of mistakes")
	}
	for _, want := range []string{
		`b/service.yaml: prerequisite "nowhere" not found`,
		`the prerequisites form a cycle: a → b → c → a`,
		`c/service.yaml: jobImpact is "some", not one of none, submission, data-path`,
		`d/service.yaml: name is "other", but the directory is "d"`,
		`field color not found`,
		`state is "disk"`,
		`state is "volume:images", but a volume has the name of its service: volume:f`,
		`f/service.yaml: state is "volume:images", but "images" is the name of a directory that PAI itself uses`,
		`lock/service.yaml: state is "volume:lock", but "lock" is the name of a directory that PAI itself uses`,
		`omit has "NoSlash", not Kind/name`,
		`beside has "a", which is not one of its prerequisites`,
		`e: read service.yaml`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got no %q in:\n%v", want, err)
		}
	}
	if strings.Count(err.Error(), "form a cycle") != 1 {
		t.Errorf("got the cycle not exactly once:\n%v", err)
	}
	if pai.CodeOf(err) != pai.CodeInvalid {
		t.Errorf("got code %s, want %s", pai.CodeOf(err), pai.CodeInvalid)
	}
}
