package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzCheck feeds any bytes as the three files. Nothing may panic or hang,
// every problem has a place inside its file, and what is valid can be written
// and read back to the same configuration.
func FuzzCheck(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatalf("seeds: %v, %v", cases, err)
	}
	for _, path := range cases {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		content := map[string][]byte{}
		for _, file := range archive.Files {
			content[file.Name] = file.Data
		}
		f.Add(content[LayoutFile], content[KubernetesFile], content[ServicesFile])
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, layout, kubernetes, services []byte) {
		content := map[string][]byte{LayoutFile: layout, KubernetesFile: kubernetes, ServicesFile: services}
		c, report := check("", content)
		for _, p := range report.Problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" || len(p.Message) > 2000 || content[p.File] == nil && p.Message != "is empty" {
				t.Errorf("problem %+v", p)
			}
		}
		if len(report.Problems) > 0 {
			return
		}
		written, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(written)
		if err := Write(written, *c); err != nil {
			t.Fatalf("write: %v", err)
		}
		again, err := Load(written)
		if err != nil {
			t.Fatalf("load: %v", err)
		}
		c.Dir = written
		if len(c.Layout.MachineSKU) == 0 {
			c.Layout.MachineSKU = nil
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("read %+v, wrote and read %+v", c, again)
		}
	})
}

// BenchmarkCheck shows what the largest allowed input costs.
func BenchmarkCheck(b *testing.B) {
	layout := []byte("machine-list: [")
	for len(layout) < maxFileBytes-64 && len(layout) < 2*maxValues-64 {
		layout = append(layout, "x,"...)
	}
	layout = append(layout, ']')
	b.ReportAllocs()
	for b.Loop() {
		if _, report := check("", map[string][]byte{LayoutFile: layout}); len(report.Problems) == 0 {
			b.Fatal("no problem found")
		}
	}
}
