package cluster

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// No script enables or disables units through systemd: newer versions of it then want a
// daemon-reload for every unit of the machine, and nothing on it counts as done.
func TestScriptsEnableUnitsOffline(t *testing.T) {
	t.Parallel()
	change := regexp.MustCompile(`(\S+ )?systemctl (-\S+ )*(enable|disable)\b`)
	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".sh") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, command := range change.FindAllString(string(data), -1) {
			found++
			if !strings.Contains(command, "SYSTEMD_OFFLINE=1 systemctl ") || strings.Contains(command, "--no-reload") {
				t.Errorf("%s has %q", path, command)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("found %d commands that enable or disable a unit: the pattern is out of date", found)
	}
}
