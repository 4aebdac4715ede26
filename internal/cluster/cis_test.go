package cluster

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/cis"
)

// What docs/cis.md says of flags, files, and modes is what PAI renders for v0.11.
func TestCISTableIsWhatPAIRenders(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/cis.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := cis.Rows(string(data))
	if err != nil {
		t.Fatal(err)
	}
	files := renderedFiles(t, "v0.11-pai", "v1.37.2")
	shown := 0
	for _, row := range rows {
		for _, e := range row.Evidence {
			if e.Kind != cis.Rendered {
				continue
			}
			shown++
			f, ok := files[e.Subject]
			if !ok {
				t.Errorf("%s: PAI renders no file %s", row.Controls, e.Subject)
			} else if err := shows(e, f); err != nil {
				t.Errorf("%s: %v", row.Controls, err)
			}
		}
	}
	if shown < 60 {
		t.Errorf("got %d claims about rendered files, want at least 60", shown)
	}
}

func TestShowsNoticesWrongClaims(t *testing.T) {
	t.Parallel()
	files := renderedFiles(t, "v0.11-pai", "v1.37.2")
	for _, c := range []struct{ file, claim string }{
		{"apiserver-a", "--profiling=true"},
		{"apiserver-a", "--profil"},
		{"apiserver-a", "without --profiling"},
		{"etcd-a", "mode 0755"},
		{"kubelet.yaml", "podPidsLimit=1"},
		{"kubelet.yaml", "without podPidsLimit"},
		{"kubelet.yaml", "authentication.anonymous.enabled=true"},
		{"pai-etcd-a.service", "StateDirectoryMode=0755"},
	} {
		if err := shows(cis.Evidence{Kind: cis.Rendered, Subject: c.file, Claim: c.claim}, files[c.file]); err == nil {
			t.Errorf("%s: %s was accepted", c.file, c.claim)
		}
	}
}

// renderedFiles are the files of a control-plane machine by their names.
func renderedFiles(t *testing.T, v pai.KubernetesVersion, upstream string) map[string]preparedFile {
	t.Helper()
	compared := newComparedCluster(t)
	compared.deps.Kubeadm = func(_ context.Context, _ []byte, script string) (string, error) {
		for _, manifest := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			if strings.Contains(script, "/"+manifest+".yaml") {
				return string(kubeadmSays(t, upstream, manifest+".yaml")), nil
			}
		}
		return string(kubeadmSays(t, upstream, "init-defaults.yaml")), nil
	}
	c := &cluster{Deps: compared.deps}
	m := compared.deps.Config.ControlPlane()
	h := compared.hosts[m.Hostname]
	h.Write(installedFile(v), fmt.Sprintf(`{"upstream":%q,"programs":{"containerd":"v2.3.7"},"images":{"pause":"pai.local/pause:v2"}}`, upstream))
	byName := map[string]preparedFile{}
	for _, o := range unitTable {
		files, err := c.roleFiles(t.Context(), h, m, v, o.role, renderOptions{})
		if err != nil {
			t.Fatalf("render %s: %v", o.role, err)
		}
		for name, f := range files {
			byName[path.Base(name)] = f
		}
	}
	return byName
}

// shows checks what a row claims of a rendered file: a flag or a line, a setting by its
// path, the absence of either, or a mode.
func shows(e cis.Evidence, f preparedFile) error {
	if mode, ok := strings.CutPrefix(e.Claim, "mode "); ok {
		if got := fmt.Sprintf("%04o", f.mode.Perm()); got != mode {
			return fmt.Errorf("%s has mode %s, not %s", e.Subject, got, mode)
		}
		return nil
	}
	name, absent := strings.CutPrefix(e.Claim, "without ")
	if !strings.HasSuffix(e.Subject, ".yaml") {
		lines := strings.FieldsFunc(f.content, func(r rune) bool { return r == '\n' })
		found := slices.ContainsFunc(lines, func(line string) bool {
			line = strings.Trim(line, " \\'")
			if absent {
				line, _, _ = strings.Cut(line, "=")
			}
			return line == name
		})
		if found == absent {
			return fmt.Errorf("%s does not show %q", e.Subject, e.Claim)
		}
		return nil
	}
	want := ""
	if !absent {
		name, want, _ = strings.Cut(name, "=")
	}
	var value any
	if err := yaml.Unmarshal([]byte(f.content), &value); err != nil {
		return err
	}
	for key := range strings.SplitSeq(name, ".") {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	if list, ok := value.([]any); ok {
		value = strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
	}
	if got := fmt.Sprint(value); absent != (value == nil) || !absent && got != want {
		return fmt.Errorf("%s has %s=%s, which is not %q", e.Subject, name, got, e.Claim)
	}
	return nil
}
