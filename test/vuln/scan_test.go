package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const stream = `{"config": {"protocol_version": "v1.0.0"}}
{"osv": {"id": "GO-2026-1", "summary": "bad", "aliases": ["CVE-2026-1111"]}}
{"osv": {"id": "GO-2026-2", "summary": "worse"}}
{"finding": {"osv": "GO-2026-1", "fixed_version": "v1.2.0", "trace": [{"module": "example.com/a", "version": "v1.0.0"}]}}
{"finding": {"osv": "GO-2026-2", "trace": [{"module": "example.com/b", "version": "v1.0.0"}]}}
{"finding": {"osv": "GO-2026-2", "trace": [{"module": "example.com/b", "version": "v1.0.0", "package": "example.com/b", "function": "F"}]}}
`

func TestFindingsOfAStream(t *testing.T) {
	t.Parallel()
	found, err := readFindings([]byte(stream))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range found {
		got += f.line(f.listed("| CVE-2026-1111, GO-2026-22 |")) + "\n"
	}
	want := "  calls  GO-2026-2  example.com/b v1.0.0, no fix, not listed: worse\n" +
		"  has    GO-2026-1  example.com/a v1.0.0, fixed in v1.2.0, listed: bad\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if _, err := readFindings([]byte(stream + "{")); err == nil {
		t.Error("a stream that ends early was read")
	}
}

func TestModulesOfTheTree(t *testing.T) {
	t.Parallel()
	modules, err := findModules(os.DirFS("../.."), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".", "components/network"} {
		if !slices.ContainsFunc(modules, func(m module) bool { return m.dir == want }) {
			t.Errorf("got %v, want %s among them", modules, want)
		}
	}
	modules, err = findModules(fstest.MapFS{
		"components/runc/v1/go.mod":         {},
		"components/runc/v1/component.yaml": {Data: []byte("module: x/y\nprograms: {bin/b: x/b, bin/a: x/a}\ntags: [seccomp]\ncgo: true\n")},
	}, "runc")
	if err != nil || len(modules) != 1 {
		t.Fatalf("got %v, %v, want one module", modules, err)
	}
	if m := modules[0]; !m.cgo || !slices.Equal(m.packages, []string{"x/a", "x/b"}) || !slices.Equal(m.tags, []string{"seccomp"}) {
		t.Errorf("got %+v", m)
	}
}

func TestUnreachableDatabaseIsNoPass(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, database := range []string{server.URL, "http://127.0.0.1:1", "file:///no/such/directory"} {
		var out bytes.Buffer
		err := run(context.Background(), &out, database, "")
		if err == nil || !strings.Contains(err.Error(), "NOTHING WAS CHECKED") || out.Len() > 0 {
			t.Errorf("%s: got %v and %q, want an error that nothing was checked", database, err, out.String())
		}
	}
}
