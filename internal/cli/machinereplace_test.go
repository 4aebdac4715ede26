package cli

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
)

// What cannot be replaced is refused before anything is asked or read.
func TestReplacementIsChecked(t *testing.T) {
	t.Parallel()
	three := &config.Config{}
	for name, role := range map[string]string{"cp-1": config.RoleControlPlane, "cp-2": config.RoleControlPlane, "cp-3": config.RoleControlPlane, "gpu-1": config.RoleWorker, "gpu-2": config.RoleWorker} {
		three.Layout.MachineList = append(three.Layout.MachineList, config.Machine{Hostname: name, Role: role})
	}
	one := &config.Config{}
	one.Layout.MachineList = []config.Machine{{Hostname: "cp-1", Role: config.RoleControlPlane}, {Hostname: "gpu-1", Role: config.RoleWorker}}
	for name, c := range map[string]struct {
		cfg        *config.Config
		lost, with string
		code       pai.Code
		reason     string // none if it is allowed
	}{
		"a first run":                 {three, "cp-2", "gpu-1", "", ""},
		"continued":                   {three, "cp-9", "cp-1", "", ""},
		"no machine":                  {three, "cp-2", "", pai.CodeUsage, "no machine takes the place of cp-2"},
		"a machine out of the layout": {three, "cp-2", "gpu-9", pai.CodeRefused, "gpu-9 is not in the layout"},
		"one control-plane machine":   {one, "cp-1", "gpu-1", pai.CodeRefused, "the cluster has one control-plane machine"},
		"a worker":                    {three, "gpu-1", "gpu-2", pai.CodeRefused, "gpu-1 is a worker"},
		"by a control-plane machine":  {three, "cp-2", "cp-3", pai.CodeRefused, "cp-3 is a control-plane machine already"},
		"by itself":                   {three, "cp-2", "cp-2", pai.CodeRefused, "cp-2 is a control-plane machine already"},
		"neither was replaced":        {three, "cp-9", "gpu-1", pai.CodeNotFound, "not found in the layout"},
	} {
		err := checkReplacement(c.cfg, c.lost, c.with)
		if c.reason == "" {
			if err != nil {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.reason) || pai.NextOf(err) == "" {
			t.Errorf("%s: got %v (code %s, next %q), want %q", name, err, pai.CodeOf(err), pai.NextOf(err), c.reason)
		}
	}
}

// A machine that was to become a control-plane machine is replaced: without it, the others would
// have no majority of the lock.
func TestUnfinishedControlPlaneNamesTheReplacement(t *testing.T) {
	t.Parallel()
	err := unfinishedAddition(pai.Errorf(pai.CodeFailed, "", "no route"), "lab", "cp-2, cp-3", true)
	if next := pai.NextOf(err); !strings.Contains(next, "run: paictl machine replace NAME --with WORKER -p lab") || strings.Contains(next, "machine remove") {
		t.Errorf("got %q", next)
	}
}
