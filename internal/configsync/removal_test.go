package configsync

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// removal is a cluster of three machines whose configuration is revision 1, applied to both
// parts.
type removal struct {
	t     *testing.T
	dir   string
	files runtest.Dir
	store *revision.Store
}

var withoutGPU01 = plan.Step{Kind: plan.KindLayout, Target: "gpu-01"}

func newRemoval(t *testing.T) removal {
	t.Helper()
	dir, files := filepath.Join(t.TempDir(), "config"), runtest.Dir(t.TempDir())
	pair := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	var machines []config.Machine
	for i, name := range []string{"cp-01", "gpu-01", "gpu-02"} {
		m := config.Machine{Hostname: name, HostIP: "10.1.0." + string(rune('1'+i)), Role: config.RoleWorker}
		if i == 0 {
			m.Role = config.RoleControlPlane
		}
		machines = append(machines, m)
	}
	if err := config.Write(dir, config.New("lab", pair, machines, []string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})); err != nil {
		t.Fatal(err)
	}
	r := removal{t, dir, files, revision.NewStore(files)}
	step := r.step()
	if err := step.Push(t.Context(), "k8s-bootup"); err != nil {
		t.Fatal(err)
	}
	if err := r.store.MarkApplied(t.Context(), 1, pair, revision.Kubernetes, revision.Services); err != nil {
		t.Fatal(err)
	}
	return r
}

// step is the doer of a new process.
func (r removal) step() Removal {
	r.t.Helper()
	cfg, err := config.Load(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	return Removal{&Step{Session: &session.Session{Config: cfg, Progressf: r.t.Logf,
		Hosts: map[string]machine.Host{"cp-01": &sessiontest.Host{Files: r.files}}}}}
}

func (r removal) done(d Removal, want bool) {
	r.t.Helper()
	if done, err := d.Done(r.t.Context(), withoutGPU01); err != nil || done != want {
		r.t.Errorf("got done %v, %v, want %v", done, err, want)
	}
}

func (r removal) wantRevision(number int, reason string, applied revision.Applied) {
	r.t.Helper()
	newest, err := r.store.Newest(r.t.Context())
	if err != nil || newest.Number != number || newest.Why != reason {
		r.t.Fatalf("the newest revision is %v, %v, want %d: %s", newest, err, number, reason)
	}
	got, err := r.store.Applied(r.t.Context())
	if err != nil || got[revision.Kubernetes] != applied[revision.Kubernetes] || got[revision.Services] != applied[revision.Services] {
		r.t.Errorf("applied: got %v, %v, want %v", got, err, applied)
	}
	if strings.Contains(string(newest.Files[config.LayoutFile]), "gpu-01") {
		r.t.Error("the newest revision has the machine")
	}
}

// A machine that leaves the layout is a revision, which is applied where the one before was.
func TestRemovalIsARevision(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	d := r.step()
	r.done(d, false)
	if err := d.Do(t.Context(), withoutGPU01); err != nil {
		t.Fatal(err)
	}
	r.done(d, true)
	r.wantRevision(2, "machine-remove gpu-01", revision.Applied{revision.Kubernetes: 2, revision.Services: 2})
	if hasMachine(d.Session.Config, "gpu-01") || !hasMachine(d.Session.Config, "gpu-02") || d.Revision != 2 {
		t.Errorf("the session has %v and revision %d", d.Session.Config.Layout.MachineList, d.Revision)
	}
	state, err := stateOf(t.Context(), r.store, r.dir, "lab")
	if err != nil || len(state.Pending) > 0 || state.Directory != Same {
		t.Errorf("got %+v, %v, want nothing pending", state, err)
	}
	if err := d.Do(t.Context(), withoutGPU01); err != nil {
		t.Fatal(err)
	}
	r.wantRevision(2, "machine-remove gpu-01", revision.Applied{revision.Kubernetes: 2, revision.Services: 2})
}

// A change of the operator is a separate revision, and stays to be applied.
func TestRemovalKeepsOtherChangesApart(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	file := filepath.Join(r.dir, config.ServicesFile)
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(data), "server-port: 9186", "server-port: 9187", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := r.step()
	if err := d.Do(t.Context(), withoutGPU01); err != nil {
		t.Fatal(err)
	}
	r.done(d, true)
	r.wantRevision(3, "machine-remove gpu-01", revision.Applied{revision.Kubernetes: 3, revision.Services: 1})
	if before, err := r.store.Get(t.Context(), 2); err != nil || before.Why != "changes before machine-remove gpu-01" || !strings.Contains(string(before.Files[config.LayoutFile]), "gpu-01") {
		t.Errorf("got %v, %v, want the change of the operator with the machine", before.Info, err)
	}
}

// The step can be killed before each of its writes on the control-plane machine, and continues
// in another process.
func TestRemovalContinuesAfterEachWrite(t *testing.T) {
	t.Parallel()
	for writes := range 20 {
		r := newRemoval(t)
		killed := r.step()
		killed.Session.Hosts["cp-01"] = &dyingHost{killed.Session.Hosts["cp-01"], writes}
		failed := killed.Do(t.Context(), withoutGPU01)
		d := r.step()
		if done, err := d.Done(t.Context(), withoutGPU01); err != nil || done && failed != nil && !errors.Is(failed, errKilled) {
			t.Fatalf("killed after %d writes: got done %v, %v", writes, done, err)
		}
		if err := d.Do(t.Context(), withoutGPU01); err != nil {
			t.Fatal(err)
		}
		r.done(d, true)
		r.wantRevision(2, "machine-remove gpu-01", revision.Applied{revision.Kubernetes: 2, revision.Services: 2})
		if failed == nil {
			return
		}
	}
	t.Error("the step does not end")
}

var errKilled = errors.New("killed")

// dyingHost makes some writes, and no more.
type dyingHost struct {
	machine.Host
	left int
}

func (h *dyingHost) spend() error {
	if h.left--; h.left < 0 {
		return errKilled
	}
	return nil
}

func (h *dyingHost) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := h.spend(); err != nil {
		return err
	}
	return h.Host.WriteFile(ctx, path, data, mode)
}

func (h *dyingHost) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := h.spend(); err != nil {
		return err
	}
	return h.Host.CreateFile(ctx, path, data, mode)
}
