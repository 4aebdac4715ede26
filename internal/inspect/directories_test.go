package inspect_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

// install makes the directory of a version.
func install(r *inspecttest.Root, name string) {
	label, _, _ := strings.Cut(name, "+")
	r.Write(layout.VersionDir(name)+"/bin/kubelet", "program")
	r.Write(layout.VersionDir(name)+"/cni/bridge", "program")
	r.Write(layout.VersionDir(name)+"/run/kubelet", "script")
	r.Write(layout.VersionDir(name)+"/etc/kubelet.yaml", "kind: KubeletConfiguration")
	r.Write(layout.VersionDir(name)+"/release.json", `{"kubernetes":"`+label+`"}`)
}

func prune(t *testing.T, r *inspecttest.Root, names ...string) inspect.Report {
	t.Helper()
	return r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.Directories}, Remove: names}, "")
}

func directoryOf(report inspect.Report, name string) inspect.Directory {
	n := slices.IndexFunc(report.Directories, func(d inspect.Directory) bool { return d.Name == name })
	if n < 0 {
		return inspect.Directory{}
	}
	return report.Directories[n]
}

func TestDirectoriesAndTheirUsers(t *testing.T) {
	t.Parallel()
	const name = "v0.9-pai+0123456789ab"
	for what, c := range map[string]struct {
		use  func(r *inspecttest.Root)
		want string // the user; that of a role begins with "role "
	}{
		"nothing": {func(*inspecttest.Root) {}, ""},
		"a role":  {func(r *inspecttest.Root) { r.Link(layout.RoleLink(layout.RoleRuntime), "../"+name) }, "role containerd"},
		"a role that is being moved": {func(r *inspecttest.Root) { r.Link(layout.RolesDir+"/kubelet.new", "../"+name) },
			"role kubelet.new"},
		"a process": {func(r *inspecttest.Root) { r.Process(7, layout.Program(name, "containerd"), nil, nil) }, "process 7 (containerd)"},
		"a process whose program was removed": {func(r *inspecttest.Root) {
			r.Process(7, layout.Program(name, "containerd")+" (deleted)", nil, nil)
		}, "process 7 (containerd (deleted))"},
		"a process with an argument": {func(r *inspecttest.Root) {
			r.Process(7, "/usr/bin/tail", []string{"-f", layout.VersionFile(name, "containerd.toml")}, nil)
		}, "process 7 (tail)"},
		"the shim of a container": {func(r *inspecttest.Root) {
			shims(r, "c1", 11, "c1", specification("container", "main"))
			r.Write(tasks+"c1/shim-binary-path", layout.Program(name, "containerd-shim-runc-v2"))
		}, "container main of pod pai-vc-default/train-0"},
		"runc of a sandbox": {func(r *inspecttest.Root) {
			shims(r, "s1", 11, "s1", specification("sandbox", ""))
			r.Write(tasks+"s1/runtime", layout.Program(name, "runc"))
		}, "sandbox of pod pai-vc-default/train-0"},
		"a container without a process": {func(r *inspecttest.Root) {
			r.Write(tasks+"c1/options.json", `{"binary_name":"`+layout.Program(name, "runc")+`"}`)
		}, "container c1"},
		"a hook": {func(r *inspecttest.Root) {
			r.Write(tasks+"c1/config.json", `{"hooks":{"poststop":[{"path":"`+layout.Program(name, "runc")+`"}]}}`)
		}, "container c1"},
		"a mount of the directory": {func(r *inspecttest.Root) {
			r.Write(tasks+"c1/config.json", `{"mounts":[{"source":"`+layout.VersionDir(name)+`"}]}`)
		}, "container c1"},
		"a container of another namespace": {func(r *inspecttest.Root) {
			r.Write(layout.ContainerdTasks+"/default/c1/runtime", layout.Program(name, "runc"))
		}, "container c1"},
		"a unit": {func(r *inspecttest.Root) {
			r.Write(layout.UnitsDir+"/mine.service", "ExecStart="+layout.Program(name, "ctr")+" run\n")
		},
			"file " + layout.UnitsDir + "/mine.service"},
		"a transient unit": {func(r *inspecttest.Root) { r.Write("/run/systemd/transient/x.service", layout.Program(name, "ctr")) },
			"file /run/systemd/transient/x.service"},
		"a part of a unit": {func(r *inspecttest.Root) {
			r.Write(layout.UnitsDir+"/mine.service.d/a.conf", "Environment=PATH=/bin:"+layout.VersionDir(name)+"/bin\n")
		}, "file " + layout.UnitsDir + "/mine.service.d/a.conf"},
		"a network configuration": {func(r *inspecttest.Root) { r.Write(layout.CNIConfig, `{"bin":"`+layout.VersionDir(name)+`/cni"}`) }, "file " + layout.CNIConfig},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := inspecttest.NewRoot(t)
			r.Process(3, "/usr/bin/other", nil, nil)
			install(r, name)
			install(r, "v0.9-pai")
			c.use(r)
			got := prune(t, r, name)
			d := directoryOf(got, name)
			var named []string
			for _, role := range d.Roles {
				named = append(named, "role "+role)
			}
			if named = append(named, d.Users...); strings.Join(named, " ") != c.want {
				t.Errorf("got %q, %v, want %q", named, got.Problems, c.want)
			}
			if other := directoryOf(got, "v0.9-pai"); !other.Unused() {
				t.Errorf("got %+v for a directory whose name is the start of the other", other)
			}
			_, err := os.Stat(r.At(layout.VersionDir(name)))
			if removed := slices.Contains(got.Removed, name); removed != (c.want == "") || removed != os.IsNotExist(err) {
				t.Errorf("got removed %v, %v", got.Removed, err)
			}
			if c.want != "" && got.ProblemOf(inspect.Directories, name) == nil {
				t.Error("got no problem for what was not removed")
			}
		})
	}
}

func TestDirectoriesWithForeignFilesStay(t *testing.T) {
	t.Parallel()
	const name = "v0.9-pai"
	dir := layout.VersionDir(name)
	for what, c := range map[string]struct {
		change func(r *inspecttest.Root)
		want   string
	}{
		"a program":           {func(r *inspecttest.Root) { r.Write(dir+"/bin/mine", "") }, dir + "/bin/mine"},
		"a directory":         {func(r *inspecttest.Root) { r.Write(dir+"/data/x", "") }, dir + "/data"},
		"a link":              {func(r *inspecttest.Root) { r.Link(dir+"/bin/runc", "/usr/bin/runc") }, dir + "/bin/runc"},
		"a link to data":      {func(r *inspecttest.Root) { r.Link(dir+"/etc", "/data") }, dir + "/etc"},
		"no release":          {func(r *inspecttest.Root) { _ = os.Remove(r.At(dir + "/release.json")) }, dir},
		"another release":     {func(r *inspecttest.Root) { r.Write(dir+"/release.json", `{"kubernetes":"v0.10-pai"}`) }, dir},
		"an unreadable file":  {func(r *inspecttest.Root) { r.Write(dir+"/release.json", `{`) }, dir},
		"a link in its place": {func(r *inspecttest.Root) { r.Link(dir, "/data") }, dir},
		"a file":              {func(r *inspecttest.Root) { r.Link(dir, "x"); _ = os.Remove(r.At(dir)); r.Write(dir, "") }, dir},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := inspecttest.NewRoot(t)
			r.Process(3, "/usr/bin/other", nil, nil)
			r.Write("/data/keep", "")
			install(r, name)
			if what == "a link to data" {
				_ = os.RemoveAll(r.At(dir + "/etc"))
			}
			c.change(r)
			got := prune(t, r, name)
			if d := directoryOf(got, name); !slices.Equal(d.Foreign, []string{c.want}) || len(got.Removed) > 0 {
				t.Errorf("got %+v, removed %v, want %s as foreign", d, got.Removed, c.want)
			}
			if _, err := os.Stat(r.At("/data/keep")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInterruptedRemovalContinues(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	r.Process(3, "/usr/bin/other", nil, nil)
	install(r, "v0.9-pai.new")
	r.Write(layout.VersionDir("mine.new")+"/data", "")
	r.Write(layout.Helper(strings.Repeat("0", 64)), "")
	if got := ask(t, r, inspect.Programs); len(got.Programs) > 0 {
		t.Errorf("got the programs %v, want none of an incomplete directory", got.Programs)
	}
	got := prune(t, r, "v0.9-pai.new", "mine.new", "helper", "role", "../data")
	if !slices.Equal(got.Removed, []string{"v0.9-pai.new"}) || !directoryOf(got, "v0.9-pai.new").Incomplete || len(got.Directories) != 2 {
		t.Errorf("got %+v, %v", got.Removed, got.Directories)
	}
	install(r, "v0.9-pai")
	r.Write(layout.VersionDir("v0.9-pai.new")+"/bin/kubelet", "")
	if got := prune(t, r, "v0.9-pai"); len(got.Removed) > 0 || got.ProblemOf(inspect.Directories, "v0.9-pai") == nil {
		t.Errorf("got %v, want the directory to stay while there is an incomplete one", got.Removed)
	}
}

func TestDirectoriesAreUnknownIfAUserIs(t *testing.T) {
	t.Parallel()
	for what, hide := range map[string]func(r *inspecttest.Root){
		"no process": func(r *inspecttest.Root) { _ = os.RemoveAll(r.At("/proc")) },
		"a large file": func(r *inspecttest.Root) {
			r.Write(tasks+"c1/config.json", strings.Repeat(" ", 5<<20))
		},
		"containers elsewhere": func(r *inspecttest.Root) { r.Write("/proc/20/comm", "containerd-shim") },
	} {
		r := inspecttest.NewRoot(t)
		r.Process(3, "/usr/bin/other", nil, nil)
		install(r, "v0.9-pai")
		hide(r)
		if got := prune(t, r, "v0.9-pai"); got.Directories != nil || len(got.Removed) > 0 || got.ErrorOf(inspect.Directories) == nil {
			t.Errorf("%s: got %+v, %v, want nothing known and nothing removed", what, got.Directories, got.Removed)
		}
	}
}

// TestNoNamedDirectoryIsRemoved makes machines with any users and requests to remove
// every directory. A directory is removed exactly if no text that was written
// anywhere has its path.
func TestNoNamedDirectoryIsRemoved(t *testing.T) {
	t.Parallel()
	names := []string{"v0.9-pai", "v0.9-pai+0123456789ab", "v0.10-pai", "v0.10-pai.new", "v0.11-pai"}
	rapid.Check(t, func(rt *rapid.T) {
		r := inspecttest.NewRoot(t)
		r.Process(3, "/usr/bin/other", nil, nil)
		texts := ""
		write := func(file, text string) {
			texts += text + "\n"
			r.Write(file, text)
		}
		for _, name := range names {
			install(r, name)
		}
		for n := range rapid.IntRange(0, 4).Draw(rt, "users") {
			dir := layout.VersionDir(rapid.SampledFrom(append(names, "v0.1-pai")).Draw(rt, "directory"))
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
				write(fmt.Sprintf("%sc%d/%s", tasks, n, rapid.SampledFrom([]string{"runtime", "shim-binary-path", "config.json", "bootstrap.json", "any"}).Draw(rt, "file")),
					fmt.Sprintf("%q", dir+rapid.SampledFrom([]string{"", "/bin/runc"}).Draw(rt, "path")))
			case 1:
				r.Process(100+n, dir+"/bin/kubelet", nil, nil)
				texts += dir + "/bin/kubelet\n"
			case 2:
				write(fmt.Sprintf("%s/u%d.service", layout.UnitsDir, n), "ExecStart="+dir+"/run/kubelet")
			case 3:
				r.Link(fmt.Sprintf("%s/r%d", layout.RolesDir, n), "../"+dir[len(layout.ProgramsDir)+1:])
				texts += dir + "\n"
			case 4:
				r.Write(fmt.Sprintf("/var/log/%d", n), dir) // names nothing
			}
		}
		got := prune(t, r, names...)
		named := func(name string) bool {
			return slices.ContainsFunc([]string{"/", "\"", "\n"}, func(end string) bool { return strings.Contains(texts, layout.VersionDir(name)+end) })
		}
		for _, name := range names {
			// The incomplete directory has the name that the complete one gets.
			stays := named(name) || name == "v0.10-pai" && named("v0.10-pai.new")
			if _, err := os.Stat(r.At(layout.VersionDir(name))); (err == nil) != stays {
				rt.Fatalf("%s: got %v, want it to stay: %v; removed %v, problems %v", name, err, stays, got.Removed, got.Problems)
			}
		}
	})
}
