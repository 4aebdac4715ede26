package fingerprint_test

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
)

const script = `#!/bin/sh
# Written by PAI: how kube-scheduler of Kubernetes v0.9-pai is started.
set -eu
exec /opt/pai/v0.9-pai/bin/kube-scheduler \
  --leader-elect=false \
  --profiling=false
`

func settings(dir, script string) fingerprint.Settings {
	return fingerprint.Settings{Dir: dir, Script: []byte(script), Unit: []byte("[Unit]\n"), Files: map[string][]byte{"a.yaml": []byte("a: 1\n")}}
}

func TestSettings(t *testing.T) {
	base := settings("/opt/pai/v0.9-pai", script)
	tests := []struct {
		name   string
		change func(*fingerprint.Settings)
		same   bool
	}{
		{"the same settings of another version", func(s *fingerprint.Settings) {
			s.Dir, s.Script = "/opt/pai/v0.10-pai+0123", []byte(strings.ReplaceAll(script, "v0.9-pai", "v0.10-pai+0123"))
		}, true},
		{"an emulated version, last", func(s *fingerprint.Settings) {
			s.Script = []byte(strings.TrimSuffix(script, "\n") + " \\\n  --emulated-version=1.35\n")
		}, true},
		{"an emulated version, first", func(s *fingerprint.Settings) {
			s.Script = []byte(strings.Replace(script, "  --leader", "  --emulated-version=1.35 \\\n  --leader", 1))
		}, true},
		{"marked with its digest", func(s *fingerprint.Settings) { s.Script = []byte(fingerprint.Mark(script, s.Digest())) }, true},
		{"a changed flag", func(s *fingerprint.Settings) { s.Script = []byte(strings.Replace(script, "=false", "=true", 1)) }, false},
		{"a flag less", func(s *fingerprint.Settings) {
			s.Script = []byte(strings.Replace(script, " \\\n  --profiling=false", "", 1))
		}, false},
		{"a path in the directory of another version", func(s *fingerprint.Settings) {
			s.Script = []byte(strings.Replace(script, "v0.9-pai/bin", "v0.8-pai/bin", 1))
		}, false},
		{"another unit", func(s *fingerprint.Settings) { s.Unit = []byte("[Service]\n") }, false},
		{"another file", func(s *fingerprint.Settings) { s.Files = map[string][]byte{"a.yaml": []byte("a: 2\n")} }, false},
		{"a file less", func(s *fingerprint.Settings) { s.Files = nil }, false},
		{"a server that the proxy drains", func(s *fingerprint.Settings) {
			s.Files = map[string][]byte{"a.yaml": []byte("a: 1,\n\"draining\": true\n")}
		}, true},
		{"an absent file", func(s *fingerprint.Settings) { s.Files = map[string][]byte{"a.yaml": nil} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := base
			tt.change(&changed)
			if got := changed.Digest() == base.Digest(); got != tt.same {
				t.Errorf("same digest = %v, want %v", got, tt.same)
			}
		})
	}
	if d := settings("/opt/pai/v0.9-pai", "").Digest(); d != "" {
		t.Errorf("without a script the digest is %q, want none", d)
	}
}

func TestMark(t *testing.T) {
	marked := fingerprint.Mark(script, "abc")
	if !strings.HasPrefix(marked, "#!/bin/sh\nexport PAI_SETTINGS=abc\n# Written by PAI") {
		t.Errorf("the marked script starts with %q", marked[:60])
	}
	if got := fingerprint.Unmark(marked); got != script {
		t.Errorf("unmarked it is\n%s\nwant\n%s", got, script)
	}
	if !fingerprint.Marked([]byte(marked)) || fingerprint.Marked([]byte(script)) {
		t.Error("Marked does not distinguish a marked script from another")
	}
}

func TestPrograms(t *testing.T) {
	files := map[string]string{}
	for _, p := range []string{"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/runc", "cni/bridge", "cni/portmap", "bin/kubelet"} {
		files[p] = "digest of " + p
	}
	of := func(change func(map[string]string)) string {
		changed := map[string]string{}
		for p, d := range files {
			changed[p] = d
		}
		change(changed)
		return fingerprint.Programs(layout.RoleRuntime, changed)
	}
	base := of(func(map[string]string) {})
	if base == "" {
		t.Fatal("no digest of a complete set")
	}
	tests := []struct {
		name    string
		change  func(map[string]string)
		same    bool
		unknown bool
	}{
		{"a program of another role", func(f map[string]string) { f["bin/kubelet"] = "x" }, true, false},
		{"another runc", func(f map[string]string) { f["bin/runc"] = "x" }, false, false},
		{"another plugin", func(f map[string]string) { f["cni/bridge"] = "x" }, false, false},
		{"one more plugin", func(f map[string]string) { f["cni/loopback"] = "x" }, false, false},
		{"no runc", func(f map[string]string) { delete(f, "bin/runc") }, false, true},
		{"an unreadable runc", func(f map[string]string) { f["bin/runc"] = "" }, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := of(tt.change)
			if (got == base) != tt.same || (got == "") != tt.unknown {
				t.Errorf("digest %q beside %q: want same %v, unknown %v", got, base, tt.same, tt.unknown)
			}
		})
	}
}
