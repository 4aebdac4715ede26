package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// labOf writes the configuration of a cluster of two machines.
func labOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lab")
	machines := []config.Machine{
		{Hostname: "cp-01", HostIP: "10.1.0.1", Username: "pai", SSHPort: 2222, KeyfilePath: "/k", Password: "p", Role: config.RoleControlPlane},
		{Hostname: "gpu-01", HostIP: "10.1.0.2", Username: "pai", SSHPort: 2222, KeyfilePath: "/k", Password: "p", Role: config.RoleWorker},
	}
	c := config.New("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, machines, []string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
	if err := config.Write(dir, c); err != nil {
		t.Fatal(err)
	}
	return dir
}

func oneMore() config.Additions {
	return config.Additions{Machines: []config.Machine{{Hostname: "gpu-02", HostIP: "10.1.0.3", MachineType: "c4-m8"}},
		SKUs: map[string]config.SKU{"c4-m8": {Mem: 8, CPU: config.SKUCPU{VCore: 4}}}}
}

func addsOne(dir string) error { return config.AddMachines(dir, oneMore()) }

func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files, err := config.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The copy has the machines and the base; the directory has them only when they are written.
func TestRehearsalLeavesTheDirectory(t *testing.T) {
	t.Parallel()
	dir := labOf(t)
	base := revision.Base{ClusterID: "lab", Revision: 4}
	if err := revision.WriteBase(dir, base); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	r, err := newRehearsal(dir, addsOne)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(r.copy); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the copy is readable for others: %v, %v", info, err)
	}
	copied, err := config.Load(r.copy)
	if err != nil || len(copied.Layout.MachineList) != 3 {
		t.Fatalf("got %+v, %v, want the machine in the copy", copied, err)
	}
	if got, err := revision.ReadBase(r.copy); err != nil || got != base {
		t.Errorf("the copy has base %+v, %v", got, err)
	}
	if after := filesOf(t, dir); !reflect.DeepEqual(before, after) {
		t.Error("a rehearsal changed the directory")
	}
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	if got, want := filesOf(t, dir), filesOf(t, r.copy); !reflect.DeepEqual(got, want) {
		t.Errorf("got %s, want what was rehearsed: %s", got, want)
	}
	r.remove()
	if _, err := os.Stat(r.copy); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy, which can have passwords, stays: %v", err)
	}
}

// What was edited while the operator was asked is not what the plan was made for.
func TestRehearsalRefusesEditedFiles(t *testing.T) {
	t.Parallel()
	dir := labOf(t)
	r, err := newRehearsal(dir, addsOne)
	if err != nil {
		t.Fatal(err)
	}
	defer r.remove()
	file := filepath.Join(dir, config.KubernetesFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, "# edited\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	if err := r.write(); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v, want a refusal", err)
	}
	if after := filesOf(t, dir); !reflect.DeepEqual(before, after) {
		t.Error("a refused write changed the directory")
	}
}

// An outdated directory is refused by its own name; one that is a revision is based on it.
func TestRehearsalChecksThePush(t *testing.T) {
	t.Parallel()
	dir, files := labOf(t), runtest.Dir(t.TempDir())
	r, err := newRehearsal(dir, addsOne)
	if err != nil {
		t.Fatal(err)
	}
	defer r.remove()
	cfg, err := config.Load(r.copy)
	if err != nil {
		t.Fatal(err)
	}
	s := &session.Session{Config: cfg, Hosts: map[string]machine.Host{}}
	if err := r.checkPush(t.Context(), s); err != nil {
		t.Errorf("without the control-plane machine: %v", err)
	}
	s.Hosts["cp-01"] = &sessiontest.Host{Hostname: "cp-01", Files: files}
	store := revision.NewStore(files)
	if _, err := store.Add(t.Context(), 0, "ann", "first", filesOf(t, dir)); err != nil {
		t.Fatal(err)
	}
	if err := r.checkPush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got, err := revision.ReadBase(r.copy); err != nil || got != (revision.Base{ClusterID: "lab", Revision: 1}) || s.Config.Dir != r.copy {
		t.Errorf("got base %+v, %v, directory %s", got, err, s.Config.Dir)
	}
	other := filesOf(t, dir)
	other[config.KubernetesFile] = append(other[config.KubernetesFile], "# of ben\n"...)
	if _, err := store.Add(t.Context(), 1, "ben", "second", other); err != nil {
		t.Fatal(err)
	}
	err = r.checkPush(t.Context(), s)
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(pai.NextOf(err), dir) || strings.Contains(pai.NextOf(err)+err.Error(), r.copy) {
		t.Errorf("got %v → %s, want a refusal that names %s", err, pai.NextOf(err), dir)
	}
}

func TestAdditionSettings(t *testing.T) {
	t.Parallel()
	dir := labOf(t)
	for name, c := range map[string]struct {
		flags addFlags
		want  config.Machine
	}{
		"of the layout": {addFlags{}, config.Machine{Username: "pai", SSHPort: 2222, KeyfilePath: "/k", Password: "p"}},
		"another user":  {addFlags{user: "admin"}, config.Machine{Username: "admin", SSHPort: 2222, KeyfilePath: "/k"}},
		"another key":   {addFlags{key: "/other"}, config.Machine{Username: "pai", SSHPort: 2222, KeyfilePath: "/other"}},
		"another port":  {addFlags{port: 22}, config.Machine{Username: "pai", SSHPort: 22, KeyfilePath: "/k", Password: "p"}},
	} {
		if got, err := c.flags.reach(dir); err != nil || got != c.want {
			t.Errorf("%s: got %#v, %v, want %#v", name, got, err, c.want)
		}
	}
}

// After the layout was written, an error names the directory and how to continue, and keeps its code.
func TestUnfinishedAdditionNamesTheNextCommand(t *testing.T) {
	t.Parallel()
	if err := unfinishedAddition(nil, "lab", "gpu-02", false); err != nil {
		t.Errorf("got %v without an error", err)
	}
	err := unfinishedAddition(pai.Errorf(pai.CodeLocked, "wait for it", "another operation is in progress"), "lab", "gpu-02, gpu-03", false)
	if pai.CodeOf(err) != pai.CodeLocked || !strings.Contains(err.Error(), "gpu-02, gpu-03: added to the layout in lab") || !strings.Contains(err.Error(), "another operation") {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"wait for it\n", "run: paictl cluster k8s-bootup -p lab", "run: paictl machine remove NAME -p lab"} {
		if next := pai.NextOf(err); !strings.Contains(next, want) {
			t.Errorf("no %q in %q", want, next)
		}
	}
}

// The plan that was confirmed is not shown twice, and no other one is run.
func TestOnlyTheConfirmedPlanIsRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	env := &Env{Console: ui.Console{Out: &out, Err: &out}}
	shown := plan.Plan{Verb: pai.VerbBoot, Steps: []plan.Step{{ID: "a", Kind: plan.KindKubelet, Target: "gpu-02"}}}
	o := observer{View: ui.NewView(&env.Console), env: env, flags: operateFlags{rehearsed: &shown}}
	defer o.Close()
	if err := o.ShowPlan(t.Context(), operation.Preview{Plan: shown}); err != nil || out.Len() > 0 {
		t.Errorf("got %v, %q, want nothing", err, out.String())
	}
	other := shown
	other.Steps = append(other.Steps[:1:1], plan.Step{ID: "b", Kind: plan.KindKubelet, Target: "gpu-03"})
	if err := o.ShowPlan(t.Context(), operation.Preview{Plan: other}); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "no step was done") {
		t.Errorf("got %v for another plan", err)
	}
}

// The plan of an addition shows the machines, as text and as JSON.
func TestAddedMachinesAreShown(t *testing.T) {
	t.Parallel()
	found := []config.FoundMachine{{Cores: 4, MemoryMiB: 8200, OS: "Debian GNU/Linux 12"}}
	for format, wants := range map[string][]string{
		"text": {"Adds gpu-02 (10.1.0.3): c4-m8 (new), Debian GNU/Linux 12"},
		"json": {`"added": [`, `"address": "10.1.0.3"`, `"newSku": true`, `"sku": "c4-m8"`, `"cores": 4`, `"steps": [`},
	} {
		var out bytes.Buffer
		env := &Env{Console: ui.Console{Out: &out, Err: &bytes.Buffer{}, Format: format}}
		o := observer{View: ui.NewView(&env.Console), env: env, flags: operateFlags{dryRun: true, added: addedMachines(found, oneMore())}}
		p := plan.Plan{Verb: pai.VerbBoot, Steps: []plan.Step{{ID: "a", Kind: plan.KindKubelet, Target: "gpu-02"}}}
		if err := o.ShowPlan(t.Context(), operation.Preview{Plan: p}); err != nil {
			t.Fatal(err)
		}
		o.Close()
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in:\n%s", format, want, out.String())
			}
		}
	}
}
