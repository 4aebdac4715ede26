package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

// anyAdditions are workers that fit a configuration, of its kinds and of new ones.
func anyAdditions(c Config, shared Machine) *rapid.Generator[Additions] {
	return rapid.Custom(func(t *rapid.T) Additions {
		a := Additions{SKUs: map[string]SKU{}}
		kinds := []string{""}
		for k := range c.Layout.MachineSKU {
			kinds = append(kinds, k)
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`new[a-z0-9]{1,8}`), 1, 4, rapid.ID[string]).Draw(t, "names") {
			m := shared
			m.Hostname, m.HostIP, m.Role = name, fmt.Sprintf("203.0.113.%d", len(a.Machines)+1), RoleWorker
			m.MachineType = rapid.SampledFrom(kinds).Draw(t, "kind")
			if rapid.Bool().Draw(t, "own settings") {
				m.SSHPort = rapid.IntRange(1, 65535).Draw(t, "sshport")
				m.Username = rapid.SampledFrom([]string{"root", "yes", "admin"}).Draw(t, "user")
				m.KeyfilePath = "/" + rapid.StringMatching(`[^/\x00-\x1f.]{1,12}`).Draw(t, "key")
				m.Password = Secret(rapid.StringMatching("[ -~é\n\r\u0085\u2028]{0,9}").Draw(t, "secret"))
			}
			if rapid.Bool().Draw(t, "new kind") {
				m.MachineType = "c4-m8.5_" + name
				a.SKUs[m.MachineType] = SKU{Mem: 8, CPU: SKUCPU{VCore: 4}, GPU: &SKUGPU{Type: "t4", Count: 2}}
			}
			a.Machines = append(a.Machines, m)
		}
		return a
	})
}

// What is added is loaded, and nothing else changes. What is added without a new kind looks as
// if it had been there from the beginning, and its removal brings back the bytes from before.
func TestAddMachinesAddsOnlyThem(t *testing.T) {
	t.Parallel()
	root := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig().Draw(t, "configuration")
		dir, before := written(t, root, &c)
		defer os.RemoveAll(dir)
		shared, err := SharedReach(dir)
		if err != nil {
			t.Fatal(err)
		}
		a := anyAdditions(c, shared).Draw(t, "additions")
		file := filepath.Join(dir, FilesOf(c.Layout.SchemaVersion)[0])
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckAddMachines(dir, a); err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != string(text) {
			t.Fatalf("a check wrote: %v", err)
		}
		if err := AddMachines(dir, a); err != nil {
			t.Fatal(err)
		}
		after, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := *before
		want.Layout.MachineList = slices.Concat(before.Layout.MachineList, a.Machines)
		if len(a.SKUs) > 0 {
			want.Layout.MachineSKU = map[string]SKU{}
			for _, m := range []map[string]SKU{before.Layout.MachineSKU, a.SKUs} {
				for name, sku := range m {
					want.Layout.MachineSKU[name] = sku
				}
			}
		}
		if !reflect.DeepEqual(*after, want) {
			t.Fatalf("got %+v, want %+v", *after, want)
		}
		if len(a.SKUs) > 0 {
			return // they stay when the machines go
		}
		c.Layout.MachineList = want.Layout.MachineList
		if c.Layout.SchemaVersion == 2 {
			wantRendered(t, dir, c)
		}
		for _, name := range a.Names() {
			if err := RemoveMachine(dir, name); err != nil {
				t.Fatal(err)
			}
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != string(text) {
			t.Fatalf("%v, after the removal:\n%s\nwant:\n%s", err, now, text)
		}
	})
}

func twoMore() Additions {
	return Additions{
		Machines: []Machine{
			{Hostname: "gpu-08", HostIP: "10.1.0.8", MachineType: "small", Username: "admin", KeyfilePath: "/keys/lab", About: "Debian GNU/Linux 12, sda 480 GB"},
			{Hostname: "gpu-09", HostIP: "10.1.0.9", MachineType: "c4-m8", Username: "pai", SSHPort: 2222, KeyfilePath: "/keys/other"},
		},
		SKUs: map[string]SKU{"c4-m8": {Mem: 8, CPU: SKUCPU{VCore: 4}}},
	}
}

// The files of each spelling keep comments and order; each golden file is the whole file.
func TestAddMachinesForms(t *testing.T) {
	t.Parallel()
	const (
		kinds = "machine-sku:\n  # bought in 2024\n  small:\n    mem: 4\n  # the last\n\n"
		cp    = "machine-list:\n  # the control plane\n  - hostname: cp-01\n    hostip: 10.1.0.1\n    username: admin # by hand\n    keyfile-path: /keys/lab\n    k8s-role: master\n"
		one   = "    - hostname: cp-01\n      hostip: 10.1.0.1\n      k8s-role: master\n"
		old   = "default-machine-properties:\n  # shared\n  username: admin\n  sshport: 22\n  keyfile-path: /keys/lab\n\n"
	)
	type form struct{ file, text string }
	for name, c := range map[string]form{
		"plain":            {LayoutFile, "schema-version: 2 # new\n" + kinds + cp},
		"comment-at-end":   {LayoutFile, "schema-version: 2\n" + kinds + cp + "  # more follow\n\n# end\n"},
		"machines-first":   {LayoutFile, "# all\n" + cp + "\n" + kinds},
		"spelled-out":      {LayoutFile, "schema-version: 2\n" + kinds + strings.Replace(cp, "    k8s-role", "    sshport: 22\n    nodename: 10.1.0.1\n    k8s-role", 1)},
		"no-kinds":         {LayoutFile, "schema-version: 2\n\n# the machines\n" + cp},
		"deeper":           {LayoutFile, "schema-version: 2\n" + kinds + "machine-list:\n" + one},
		"wide":             {LayoutFile, "schema-version: 2\n" + kinds + "machine-list:\n  -   hostname: cp-01\n      hostip: 10.1.0.1\n      k8s-role: master\n"},
		"dash-alone":       {LayoutFile, "schema-version: 2\n" + kinds + "machine-list:\n  -\n    hostname: cp-01\n    hostip: 10.1.0.1\n    k8s-role: master\n"},
		"not-indented":     {LayoutFile, "schema-version: 2\n" + kinds + unindented(cp)},
		"flow-item":        {LayoutFile, "schema-version: 2\n" + kinds + "machine-list:\n  - {hostname: cp-01, hostip: 10.1.0.1, k8s-role: master}\n"},
		"flow":             {LayoutFile, "schema-version: 2 # new\nmachine-sku: {small: {mem: 4}}\nmachine-list: [{hostname: cp-01, hostip: 10.1.0.1, k8s-role: master}]\n"},
		"anchors":          {LayoutFile, "schema-version: 2\nmachine-sku:\n  small: &s {mem: 4}\n  big: *s\nmachine-list:\n  - &first\n    hostname: cp-01\n    hostip: 10.1.0.1\n    k8s-role: master\n  - <<: *first\n    hostname: gpu-01\n    hostip: 10.1.0.2\n    k8s-role: worker\n"},
		"no-newline":       {LayoutFile, strings.TrimSuffix("schema-version: 2\n"+kinds+cp, "\n")},
		"schema-1":         {ClusterFile, old + kinds + "machine-list:\n" + one},
		"schema-1-nothing": {ClusterFile, kinds + cp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for breaks, newline := range map[string]string{"": "\n", "-windows": "\r\n"} {
				dir := writeGood(t)
				if err := os.Remove(filepath.Join(dir, LayoutFile)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, c.file)
				write(t, path, strings.ReplaceAll(c.text, "\n", newline))
				before := snapshot(t, dir)
				a := twoMore()
				if name == "no-kinds" {
					a.Machines[0].MachineType = ""
				}
				if err := AddMachines(dir, a); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				// The forms that are written again lose the breaks of Windows.
				if breaks != "" && !strings.HasPrefix(name, "flow") && strings.Count(string(got), "\n") != strings.Count(string(got), "\r\n") {
					t.Errorf("line breaks are mixed: %q", got)
				}
				golden.Check(t, filepath.Join("testdata/added", name+".yaml"), strings.ReplaceAll(string(got), "\r\n", "\n"))
				if after := snapshot(t, dir); len(after) != len(before) {
					t.Errorf("the directory has %d files, had %d", len(after), len(before))
				}
			}
		})
	}
}

// What cannot be added leaves the files as they are, and says why.
func TestAddMachinesRefuses(t *testing.T) {
	t.Parallel()
	machine := func(name, ip, kind string) Additions {
		return Additions{Machines: []Machine{{Hostname: name, HostIP: ip, MachineType: kind}}}
	}
	dir := writeGood(t)
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := c.Layout.MachineList[0]
	before := snapshot(t, dir)
	for want, a := range map[string]Additions{
		"is also the name of the machine":  machine(first.Hostname, "203.0.113.9", ""),
		"is also the address of":           machine("fresh", first.HostIP, ""),
		"not found in machine-sku":         machine("fresh", "203.0.113.9", "no-such-kind"),
		"must have lowercase letters":      machine("Fresh_1", "203.0.113.9", ""),
		"is in service-cluster-ip-range":   machine("fresh", "10.96.3.3", ""),
		"is not an IP address":             machine("fresh", "gpu-01", ""),
		"of the machine on line":           {Machines: []Machine{{Hostname: "fresh", HostIP: "203.0.113.9"}, {Hostname: "fresh", HostIP: "203.0.113.10"}}},
		"with fresh, the configuration in": machine("fresh", first.HostIP, "no-such-kind"),
	} {
		for what, add := range map[string]func(string, Additions) error{"check": CheckAddMachines, "addition": AddMachines} {
			if err := add(dir, a); pai.CodeOf(err) != pai.CodeInvalid || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", what, err, want)
			}
		}
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
		t.Errorf("a refused addition left %v", after)
	}
	if err := AddMachines(t.TempDir(), Additions{}); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("got %v without a configuration", err)
	}
	if err := AddMachines(dir, Additions{}); err != nil || !reflect.DeepEqual(before, snapshot(t, dir)) {
		t.Errorf("nothing to add: %v", err)
	}
}

// A kind that exists with other values stays: the addition does not change it.
func TestAddMachinesNeverChangesAKind(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	write(t, filepath.Join(dir, LayoutFile), "schema-version: 2\nmachine-sku:\n  small: {mem: 4}\nmachine-list:\n  - {hostname: cp-01, hostip: 10.1.0.1, k8s-role: master}\n")
	before := snapshot(t, dir)
	err := AddMachines(dir, Additions{Machines: []Machine{{Hostname: "gpu-01", HostIP: "10.1.0.2", MachineType: "small"}}, SKUs: map[string]SKU{"small": {Mem: 8}}})
	if err == nil {
		t.Error("another kind of the same name was accepted")
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
		t.Errorf("a refused addition left %v", after)
	}
}

// What an edit makes is read back: a file that differs by more than the machines replaces nothing.
func TestAdditionThatChangesMoreIsRefused(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	const layout = "schema-version: 2\nmachine-sku:\n  small: {mem: %d}\nmachine-list:\n  - {hostname: cp-01, hostip: 10.1.0.1, k8s-role: master, machine-type: small}\n"
	write(t, filepath.Join(dir, LayoutFile), fmt.Sprintf(layout, 4))
	before, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for mem, refused := range map[int]bool{4: false, 8: true} {
		content, problems := readFiles(dir)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		content[LayoutFile] = fmt.Appendf(nil, layout, mem)
		if err := onlyTheseAreMore(dir, *before, content, Additions{}); (err != nil) != refused {
			t.Errorf("with %d GiB of memory: got %v, want a refusal: %t", mem, err, refused)
		}
	}
}

func TestSharedReach(t *testing.T) {
	t.Parallel()
	const two = "machine-list:\n  - {hostname: a, hostip: 10.1.0.1, k8s-role: master%s}\n  - {hostname: b, hostip: 10.1.0.2, k8s-role: worker%s}\n"
	for name, c := range map[string]struct {
		file, text string
		want       Machine
	}{
		"nothing is named": {LayoutFile, fmt.Sprintf(two, "", ""), Machine{SSHPort: 22, Username: "root"}},
		"all have it": {LayoutFile, fmt.Sprintf(two, ", username: pai, sshport: 2222, keyfile-path: /k", ", username: pai, sshport: 2222, keyfile-path: /k"),
			Machine{SSHPort: 2222, Username: "pai", KeyfilePath: "/k"}},
		"one differs": {LayoutFile, fmt.Sprintf(two, ", username: pai, sshport: 2222, password: x", ", username: pai, keyfile-path: /k"),
			Machine{SSHPort: 22, Username: "pai"}},
		"a password": {LayoutFile, fmt.Sprintf(two, ", password: x", ", password: x"), Machine{SSHPort: 22, Username: "root", Password: "x"}},
		"the defaults of the file": {ClusterFile, "default-machine-properties: {username: pai, password: x, keyfile-path: /k}\n" + fmt.Sprintf(two, ", keyfile-path: /other", ", sshport: 23"),
			Machine{SSHPort: 22, Username: "pai", KeyfilePath: "/k", Password: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeGood(t)
			if err := os.Remove(filepath.Join(dir, LayoutFile)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, c.file), c.text)
			got, err := SharedReach(dir)
			if err != nil || got != c.want {
				t.Errorf("got %#v, %v, want %#v", got, err, c.want)
			}
			a := Additions{Machines: []Machine{got}}
			a.Machines[0].Hostname, a.Machines[0].HostIP = "c", "10.1.0.3"
			if err := AddMachines(dir, a); err != nil {
				t.Errorf("a machine with these settings: %v", err)
			}
		})
	}
}
