package cluster

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/hostsfile"
	"pai.dev/pai/internal/layout"
)

// The certificate program restores the lines that it finds in the prepare script.
func TestPrepareScriptHasTheLinesThatAreRestored(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	files, err := preparedFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(hostLines(cfg), " # pai\n") + " # pai\n"
	if got := string(hostsfile.Own([]byte(files[layout.PrepareScript].content))); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// cloud-init writes /etc/hosts in a stage before network-online.target. Its later stages
// wait for that target, which waits for the prepare script.
func TestPrepareScriptRunsAfterCloudInit(t *testing.T) {
	t.Parallel()
	var after, before []string
	for line := range strings.Lines(prepareUnitFile) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "After":
			after = append(after, strings.Fields(value)...)
		case "Before":
			before = append(before, strings.Fields(value)...)
		case "Requires", "Wants", "BindsTo":
			t.Errorf("got %s: a machine without cloud-init has none of its units", line)
		}
	}
	for _, unit := range []string{"cloud-init.service", "cloud-init-network.service"} {
		if !slices.Contains(after, unit) {
			t.Errorf("got After=%q, want %s", after, unit)
		}
	}
	if !slices.Contains(before, "network-online.target") || slices.Contains(after, "cloud-config.service") || slices.Contains(after, "cloud-final.service") {
		t.Errorf("got After=%q Before=%q, which can be a circle", after, before)
	}
}
