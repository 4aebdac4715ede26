package cluster

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// orderedHost is a machine that records the order of what is done.
type orderedHost struct {
	*inspecttest.Host
	done []string
}

func (h *orderedHost) WriteFile(ctx context.Context, name string, data []byte, mode fs.FileMode) error {
	h.done = append(h.done, "write "+name)
	return h.Host.WriteFile(ctx, name, data, mode)
}

// The script has the digest of all files of the role and comes first, so that a
// process that was started before differs from then on. systemd reads the unit
// again only if it changed.
func TestWriteRole(t *testing.T) {
	t.Parallel()
	const v, r = "v0.10-pai", plan.RoleKubeProxy
	cfg := testConfig()
	c := &cluster{Deps: Deps{Config: cfg}}
	files, err := c.roleFiles(t.Context(), &fakeHost{files: map[string]string{installedFile(v): `{"upstream":"v1.36.3"}`}}, cfg.Workers()[0], v, r, renderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	script, config, unit := layout.RunScript(v, r), layout.VersionFile(v, layout.KubeProxyConfigName), layout.UnitFile(r)
	for _, tt := range []struct {
		name    string
		unitNow string
		want    []string
	}{
		{"the same unit", files[unit].content, []string{"write " + script, "write " + config}},
		{"an older unit", "[Unit]\n", []string{"write " + script, "write " + config, "write " + unit, "systemctl daemon-reload"}},
	} {
		h := &orderedHost{Host: inspecttest.NewHost(t, "pai-2")}
		h.Write(unit, tt.unitNow)
		h.Script = func(_ context.Context, c machine.Command) (string, error) {
			h.done = append(h.done, c.Script)
			return "", nil
		}
		if err := writeRole(t.Context(), h, v, r, files); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(h.done, tt.want) {
			t.Errorf("%s: did %q, want %q", tt.name, h.done, tt.want)
		}
		h.Link(layout.RoleLink(r), "../"+v)
		report, err := helper.Inspect(t.Context(), h, inspect.Request{Parts: []inspect.Part{inspect.Roles}})
		if err != nil {
			t.Fatal(err)
		}
		written, err := h.ReadFile(t.Context(), script)
		if err != nil {
			t.Fatal(err)
		}
		want := settings(v, r, files).Digest()
		if got := report.Roles[r]; got.DiskSettings != want || !got.DiskMarked || !strings.Contains(string(written), "export "+fingerprint.Variable+"="+want+"\n") {
			t.Errorf("%s: the machine reports %+v, want marked settings %s in\n%s", tt.name, got, want, written)
		}
	}
}

// What a process was started with is certain only if its environment and the disk
// say the same, or if neither says anything, as with PAI v0.10 and older.
func TestSettingsOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		role inspect.Role
		want string
	}{
		{"marked and equal", inspect.Role{PID: 1, Settings: "a", DiskSettings: "a", DiskMarked: true}, "a"},
		{"files changed after the start", inspect.Role{PID: 1, Settings: "a", DiskSettings: "b", DiskMarked: true}, ""},
		{"started by an older PAI", inspect.Role{PID: 1, DiskSettings: "a"}, "a"},
		{"started by an older PAI, and written since", inspect.Role{PID: 1, DiskSettings: "a", DiskMarked: true}, ""},
		{"an older PAI wrote the files since", inspect.Role{PID: 1, Settings: "a", DiskSettings: "b"}, ""},
		{"systemd did not read the unit", inspect.Role{PID: 1, Settings: "a", DiskSettings: "a", DiskMarked: true, NeedsReload: true}, ""},
		{"stopped", inspect.Role{DiskSettings: "a", DiskMarked: true}, "a"},
		{"unreadable", inspect.Role{PID: 1, Settings: "a"}, ""},
	} {
		if got := settingsOf(tt.role); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
