package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

// TestMessages checks every configuration in testdata and compares the messages
// with the file "want" beside it. A file that the archive omits is that of
// testdata/good.txtar.
func TestMessages(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) < 10 {
		t.Fatalf("cases: %v, %v", cases, err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir, want := t.TempDir(), -1
			given := map[string]bool{}
			for i, f := range archive.Files {
				if f.Name == "want" {
					want = i
					continue
				}
				given[f.Name] = true
				write(t, filepath.Join(dir, f.Name), strings.TrimSuffix(string(f.Data), "(missing)\n"))
				if string(f.Data) == "(missing)\n" {
					os.Remove(filepath.Join(dir, f.Name))
				}
			}
			for name, content := range goodFiles(t) {
				if !given[name] {
					write(t, filepath.Join(dir, name), content)
				}
			}
			got := messages(t, dir)
			if golden.Updating() {
				archive.Files[want].Data = []byte(got)
				write(t, path, string(txtar.Format(archive)))
				return
			}
			if w := string(archive.Files[want].Data); got != w {
				t.Errorf("got:\n%s\nwant:\n%s", got, w)
			}
		})
	}
}

// messages are those of Check and Load, without the name of the directory.
func messages(t *testing.T, dir string) string {
	t.Helper()
	c, report := Check(dir)
	var lines []string
	for _, p := range report.Problems {
		lines = append(lines, p.String())
	}
	for _, n := range report.Notes {
		lines = append(lines, "note: "+n.String())
	}
	loaded, err := Load(dir)
	if (err == nil) != (len(report.Problems) == 0) || (c == nil) != (loaded == nil) {
		t.Errorf("Load returns %v, Check %v", err, report.Problems)
	}
	if err != nil {
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != len(report.Problems) {
			t.Errorf("Load's error does not carry the problems: %v", err)
		}
		if pai.CodeOf(err) != pai.CodeInvalid {
			t.Errorf("code %s", pai.CodeOf(err))
		}
	}
	return strings.ReplaceAll(strings.Join(append(lines, ""), "\n"), dir+"/", "")
}

func goodFiles(t *testing.T) map[string]string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, f := range archive.Files {
		if f.Name != "want" {
			content[f.Name] = string(f.Data)
		}
	}
	return content
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeGood(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range goodFiles(t) {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func TestLoadFillsInDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(writeGood(t))
	if err != nil {
		t.Fatal(err)
	}
	m := c.ControlPlane()
	if m.Hostname != "gpu-01" || m.SSHPort != 22 || m.Username != "root" {
		t.Errorf("control plane: %+v", m)
	}
	if w := c.Workers(); len(w) != 1 || w[0].SSHPort != 2222 || w[0].Username != "admin" {
		t.Errorf("workers: %+v", w)
	}
	want := Kubernetes{
		Version: "v0.10-pai", ServiceClusterIPRange: "10.96.0.0/16", PodClusterIPRange: "10.244.0.0/16",
		ClusterDNS: "10.96.0.10", APIServersPort: 6443, ServiceNodePortRange: "9000-9999",
		APIAddress:   "100.127.255.1",
		TaskNetworks: []string{"0.0.0.0/0"},
	}
	if !reflect.DeepEqual(c.Kubernetes, want) {
		t.Errorf("kubernetes: %+v", c.Kubernetes)
	}
	s := c.Services
	if s.RestServer.ServerPort != 9186 || s.Prometheus != (Prometheus{9091, 30}) || s.NodeExporter.Port != 9100 {
		t.Errorf("services: %+v", s)
	}
	if _, there := s.VirtualClusters["default"]; !there || len(s.VirtualClusters) != 1 {
		t.Errorf("virtual clusters: %v", s.VirtualClusters)
	}
	if c.Pair() != (pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}) {
		t.Errorf("pair: %v", c.Pair())
	}
}

// A directory of things that are not files must not make Load wait.
func TestCheckReportsWhatIsNotAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(LayoutFile, filepath.Join(dir, LayoutFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, KubernetesFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ServicesFile), 0o755); err != nil {
		t.Fatal(err)
	}
	want := `layout.yaml:1:1: cannot be read: too many levels of symbolic links
kubernetes-configuration.yaml:1:1: is not a regular file
services-configuration.yaml:1:1: is not a regular file
`
	if got := messages(t, dir); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestCheckReportsLimits(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	for _, tc := range []struct{ name, layout, want string }{
		{"size", "# " + strings.Repeat("x", maxFileBytes), "layout.yaml:1:1: the document is larger than the limit of 1048576 bytes"},
		{"depth", "a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "layout.yaml:1:19: nested deeper than the limit of 16 levels"},
		{"very deep", strings.Repeat("[", 200_000), "layout.yaml:1:1: nested too deeply"},
		{"alias bomb", bomb, "more aliases than the limit of 256"},
		{"alias of itself", "a: &a\n  - *a\n", "layout.yaml:2:5: nested deeper than the limit of 16 levels"},
		{"scalar", "a: " + strings.Repeat("x", 5000), "layout.yaml:1:4: a value of 5000 bytes; the limit is 4096"},
		{"values", "a: [" + strings.Repeat("1,", 100_001) + "1]", "more values than the limit of 50000 (aliases followed)"},
		{"encoding", "a: b\nc: \xff\xfe", "layout.yaml:2:4: the document is not UTF-8 text: save it as UTF-8"},
		{"empty", "# nothing\n", "layout.yaml:1:1: the document is empty"},
		{"null", "~\n", "layout.yaml:1:1: the document is empty"},
		{"two", "a: 1\n---\nb: 2\n", "layout.yaml:2:1: a second YAML document starts here: put everything into one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := writeGood(t)
			write(t, filepath.Join(dir, LayoutFile), tc.layout)
			got := messages(t, dir)
			if !strings.Contains(got, tc.want) || strings.Count(got, "\n") != 1 {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestLoadWithoutFilesReturnsNotFound(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "nowhere")} {
		_, err := Load(dir)
		if !errors.Is(err, fs.ErrNotExist) || pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("%v", err)
		}
	}
}
