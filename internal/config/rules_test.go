package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
)

func TestCheckRefusesUsedPorts(t *testing.T) {
	t.Parallel()
	for _, p := range layout.TCPPorts() {
		dir := writeGood(t)
		write(t, filepath.Join(dir, KubernetesFile), fmt.Sprintf("kubernetes:\n  version: v0.10-pai\n  api-servers-port: %d\n", p.Number))
		want := fmt.Sprintf("api-servers-port: port %d is used by %s", p.Number, p.Component)
		if _, report := Check(dir); !strings.Contains(fmt.Sprint(report.Problems), want) {
			t.Errorf("port %d: got %q, want %q", p.Number, report.Problems, want)
		}
	}
}
