package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// written is a directory below root with a configuration, and what Load reads of it. No quota
// needs a machine.
func written(t *rapid.T, root string, c *Config) (dir string, before *Config) {
	c.Services.VirtualClusters = map[string]VirtualCluster{"default": {}}
	c.setDefaults()
	dir, err := os.MkdirTemp(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, *c); err != nil {
		t.Fatal(err)
	}
	if before, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	return dir, before
}

// A removal takes the entry of the machine, and every other byte stays.
func TestRemoveMachineKeepsEveryOtherByte(t *testing.T) {
	t.Parallel()
	root := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig().Filter(func(c Config) bool { return len(c.Layout.MachineList) > 1 }).Draw(t, "configuration")
		dir, before := written(t, root, &c)
		defer os.RemoveAll(dir)
		at := rapid.IntRange(0, len(c.Layout.MachineList)-1).Filter(func(i int) bool { return !before.Layout.MachineList[i].IsControlPlane() }).Draw(t, "machine")
		if err := RemoveMachine(dir, c.Layout.MachineList[at].Hostname); err != nil {
			t.Fatal(err)
		}
		after, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		before.Layout.MachineList = slices.Delete(before.Layout.MachineList, at, at+1)
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("got %+v, want %+v", after, before)
		}
		if c.Layout.SchemaVersion == 1 { // what machines share is in another place
			return
		}
		c.Layout.MachineList = slices.Delete(slices.Clone(c.Layout.MachineList), at, at+1)
		wantRendered(t, dir, c)
	})
}

func TestRemoveMachineForms(t *testing.T) {
	t.Parallel()
	const (
		first  = "schema-version: 2\nmachine-list:\n"
		cp     = "  - hostname: cp-01\n    hostip: 10.1.0.1\n    k8s-role: master\n"
		gpu    = "  - hostname: gpu-01 # in rack 3\n    hostip: 10.1.0.2\n    # by hand\n    k8s-role: worker\n"
		second = "  - hostname: gpu-02\n    hostip: 10.1.0.3\n    k8s-role: worker\n"
	)
	for name, c := range map[string]struct{ layout, want string }{
		"in the middle":          {first + cp + gpu + second, first + cp + second},
		"the last":               {first + cp + gpu, first + cp},
		"the first":              {first + gpu + cp, first + cp},
		"its own comment":        {first + cp + "  # bought in 2024\n" + gpu + "  # bought in 2025\n" + second, first + cp + "  # bought in 2025\n" + second},
		"a comment at the end":   {first + cp + gpu + "  # more follow\n\n# end\n", first + cp + "  # more follow\n\n# end\n"},
		"a gap":                  {first + cp + "\n" + gpu + "\n" + second, first + cp + "\n" + second},
		"before another section": {first + cp + gpu + "\nmachine-sku: {}\n", first + cp + "\nmachine-sku: {}\n"},
		"not indented":           {unindented(first + cp + gpu + second), unindented(first + cp + second)},
		"Windows":                {strings.ReplaceAll(first+cp+gpu+second, "\n", "\r\n"), strings.ReplaceAll(first+cp+second, "\n", "\r\n")},
		"flow items":             {first + cp + "  - {hostname: gpu-01, hostip: 10.1.0.2, k8s-role: worker}\n" + second, first + cp + second},
		"flow list": {"schema-version: 2 # new\nmachine-list: [{hostname: cp-01, hostip: 10.1.0.1, k8s-role: master}, {hostname: gpu-01, hostip: 10.1.0.2, k8s-role: worker}]\n",
			"schema-version: 2 # new\nmachine-list: [{hostname: cp-01, hostip: 10.1.0.1, k8s-role: master}]\n"},
		"an anchor that others use": {first + cp + "  - hostname: gpu-01\n    hostip: 10.1.0.2\n    k8s-role: &role worker\n  - hostname: gpu-02\n    hostip: 10.1.0.3\n    k8s-role: *role\n",
			first + cp + "  - hostname: gpu-02\n    hostip: 10.1.0.3\n    k8s-role: &role worker\n"},
		"another machine": {first + cp + second, first + cp + second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeGood(t)
			path := filepath.Join(dir, LayoutFile)
			write(t, path, c.layout)
			before := snapshot(t, dir)
			if err := RemoveMachine(dir, "gpu-01"); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != c.want {
				t.Errorf("%v, got:\n%s\nwant:\n%s", err, got, c.want)
			}
			after := snapshot(t, dir)
			if len(after) != len(before) {
				t.Errorf("the directory has %d files, had %d", len(after), len(before))
			}
		})
	}
}

// unindented has the items of a list in the column of its key.
func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// The only control-plane machine stays: the configuration would be invalid.
func TestRemoveMachineRefusesAnInvalidResult(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	for what, remove := range map[string]func(dir, hostname string) error{"check": CheckRemoveMachine, "removal": RemoveMachine} {
		if err := remove(dir, c.ControlPlane().Hostname); pai.CodeOf(err) != pai.CodeInvalid || !strings.Contains(err.Error(), "k8s-role: master") {
			t.Errorf("%s: got %v, want an invalid configuration", what, err)
		}
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
		t.Errorf("a refused removal left %v", after)
	}
	if err := RemoveMachine(t.TempDir(), "gpu-01"); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("got %v without a configuration", err)
	}
}

// The quotas of virtual clusters fit the machines that stay, before anything is done.
func TestRemoveMachineRefusesAQuotaThatNeedsIt(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	write(t, filepath.Join(dir, LayoutFile), "schema-version: 2\nmachine-sku:\n  small: {mem: 8, cpu: {vcore: 4}}\nmachine-list:\n"+
		"  - {hostname: cp-01, hostip: 10.1.0.1, machine-type: small, k8s-role: master}\n  - {hostname: gpu-01, hostip: 10.1.0.2, machine-type: small, k8s-role: worker}\n")
	write(t, filepath.Join(dir, ServicesFile), "cluster:\n  common:\n    release: v0.10\n    cluster-id: lab\n    trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]\n"+
		"virtual-clusters:\n  default: {cpu: 6}\n")
	before := snapshot(t, dir)
	err := CheckRemoveMachine(dir, "gpu-01")
	if pai.CodeOf(err) != pai.CodeInvalid || !strings.Contains(err.Error(), "virtual cluster default is larger") || !strings.Contains(pai.NextOf(err), "paictl service refresh kueue") {
		t.Errorf("got %v, %q, want the quota named", err, pai.NextOf(err))
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
		t.Errorf("a check left %v", after)
	}
}
