package inspect

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"pai.dev/pai/internal/layout"
)

// Strangers is what programs other than PAI left or run on a machine, where it can
// get between PAI and its containers.
type Strangers struct {
	// CNI are files that the runtime reads before that of PAI.
	CNI []string `json:"cni,omitempty"`
	// PKI are certificates, keys, and kubeconfigs of another Kubernetes.
	PKI []string `json:"pki,omitempty"`
	// Runtimes are other containerds that use the directory or the socket of PAI.
	Runtimes []OtherRuntime `json:"runtimes,omitempty"`
	// Kubelets are the units that start a kubelet of another program at the next boot.
	Kubelets []string `json:"kubelets,omitempty"`
	// Forward are the chains through which forwarded packets go and that drop, or
	// refuse, what no rule accepts.
	Forward []ForwardChain `json:"forward,omitempty"`
	// NoExec are the directories of programs whose file system is mounted with noexec.
	NoExec []string `json:"noExec,omitempty"`
}

// OtherRuntime is a containerd that PAI did not start.
type OtherRuntime struct {
	Program string // path, or the unit that starts it
	Running bool   // otherwise it starts at the next boot
}

// ForwardChain is a chain with the text of its table, which can name its owner.
type ForwardChain struct {
	Table string // family and name
	Chain string
	Rules string // of the table
}

// strangers reports what other programs left.
func (i *inspection) strangers(ctx context.Context, c *Condition) error {
	s := &Strangers{}
	files, err := i.names(path.Dir(layout.CNIConfig))
	if err != nil {
		return err
	}
	for _, name := range files { // sorted, as the runtime sorts them
		switch path.Ext(name) {
		case ".conf", ".conflist", ".json":
			if name < path.Base(layout.CNIConfig) {
				s.CNI = append(s.CNI, path.Join(path.Dir(layout.CNIConfig), name))
			}
		}
	}
	if s.PKI, err = i.otherPKI(); err != nil {
		return err
	}
	enabled := i.enabledUnits()
	s.Runtimes = append(i.otherRuntimes(), i.enabledRuntimes(enabled)...)
	s.Kubelets = i.enabledKubelets(enabled)
	s.Forward = i.forwardChains(ctx)
	const noExec = 8 // ST_NOEXEC (statfs(2))
	for _, dir := range []string{layout.ProgramsDir, layout.ConfigDir} {
		var disk syscall.Statfs_t
		if _, err := i.statfs(dir, &disk); err != nil {
			return err
		}
		if disk.Flags&noExec != 0 {
			s.NoExec = append(s.NoExec, dir)
		}
	}
	c.Strangers = s
	return nil
}

// otherRuntimes finds running containerds, outside of pods, that have the socket or
// a file in the directory of the runtime of PAI open.
func (i *inspection) otherRuntimes() []OtherRuntime {
	var found []OtherRuntime
	sockets := i.socketsAt(layout.ContainerdSocket)
	programs, _ := filepath.Glob(i.at("/proc/[0-9]*/exe")) // an error means that the name is no pattern
	for _, exe := range programs {
		proc := filepath.Dir(exe)
		program, err := i.readlink(exe)
		if err != nil || strings.TrimSuffix(path.Base(program), " (deleted)") != "containerd" || strings.HasPrefix(program, layout.ProgramsDir+"/") {
			continue
		}
		if groups, err := i.readAt(proc + "/cgroup"); err != nil || strings.Contains(groups, "kubepods") {
			continue
		}
		files, _ := filepath.Glob(proc + "/fd/*")
		if slices.ContainsFunc(files, func(file string) bool {
			target, err := i.readlink(file)
			return err == nil && (strings.HasPrefix(target, layout.ContainerdDir+"/") || slices.Contains(sockets, target))
		}) {
			found = append(found, OtherRuntime{Program: program, Running: true})
		}
	}
	return found
}

// socketsAt are the sockets with a path, as links of open files name them.
func (i *inspection) socketsAt(name string) []string {
	text, err := i.read("/proc/net/unix")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without them
	}
	i.problem(err, string(ConditionOf), "unix sockets")
	var sockets []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 8 && f[7] == name {
			sockets = append(sockets, "socket:["+f[6]+"]")
		}
	}
	return sockets
}

// Lines of a unit.
var (
	execStart     = regexp.MustCompile(`(?m)^ExecStart=[-+!@:]*(\S*/containerd)(\s.*)?$`)
	startsKubelet = regexp.MustCompile(`(?m)^ExecStart=[-+!@:]*(\S*/(kubelet|k3s|k0s|rke2)(\s|$)|\S*/snap run microk8s\.)`)
	pullsRuntime  = regexp.MustCompile(`(?m)^(Wants|Requires|BindsTo)=.*\bcontainerd\.service\b`)
	configFlag    = regexp.MustCompile(`(?:--config|-c)[ =](\S+)`)
	ownPlaces     = regexp.MustCompile(`(?m)^\s*(root|state)\s*=\s*["']([^"']*)["']`)
)

// enabledUnits are the units, but for those of PAI, that start at boot, or that such a
// unit wants. They are sorted.
func (i *inspection) enabledUnits() []string {
	links, _ := filepath.Glob(i.at(layout.UnitsDir + "/*.wants/*")) // an error means that the name is no pattern
	names := map[string]bool{}
	for _, link := range links {
		name := filepath.Base(link)
		names[name] = true
		if socket, found := strings.CutSuffix(name, ".socket"); found {
			names[socket+".service"] = true
		}
	}
	for name := range names {
		if name != "containerd.service" && pullsRuntime.MatchString(i.unitText(name)) {
			names["containerd.service"] = true
			break
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return strings.HasPrefix(name, layout.UnitPrefix) })
	return slices.Sorted(maps.Keys(names))
}

// enabledRuntimes finds the units that start a containerd with the directories of PAI.
func (i *inspection) enabledRuntimes(units []string) []OtherRuntime {
	var found []OtherRuntime
	for _, name := range units {
		if start := execStart.FindStringSubmatch(i.unitText(name)); start != nil && i.usesOwnPlaces(start[2]) {
			found = append(found, OtherRuntime{Program: name})
		}
	}
	return found
}

// enabledKubelets finds the units that start a kubelet, as that of kubeadm or a program that
// has one in it.
func (i *inspection) enabledKubelets(units []string) []string {
	return slices.DeleteFunc(slices.Clone(units), func(name string) bool { return !startsKubelet.MatchString(i.unitText(name)) })
}

// unitText is the text of a unit as systemd would find it; empty without one.
func (i *inspection) unitText(name string) string {
	for _, dir := range []string{layout.UnitsDir, "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		text, err := i.read(dir + "/" + name)
		if err == nil {
			return string(text)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			i.problem(err, string(ConditionOf), name)
		}
	}
	return ""
}

// usesOwnPlaces reports whether a containerd with these flags uses the directories
// of PAI, which are the defaults.
func (i *inspection) usesOwnPlaces(flags string) bool {
	file := "/etc/containerd/config.toml"
	if own := configFlag.FindStringSubmatch(flags); own != nil {
		file = own[1]
	}
	places := map[string]string{"root": layout.ContainerdDir, "state": path.Dir(layout.ContainerdSocket)}
	text, err := i.read(file)
	if err == nil {
		head, _, _ := strings.Cut("\n"+string(text), "\n[")
		for _, set := range ownPlaces.FindAllStringSubmatch(head, -1) {
			places[set[1]] = path.Clean(set[2])
		}
	}
	return places["root"] == layout.ContainerdDir || places["state"] == path.Dir(layout.ContainerdSocket)
}

var (
	ownTable    = regexp.MustCompile(`^\w+ (pai|kube-|flannel-)`)
	forwardHook = regexp.MustCompile(`type filter hook forward .*policy (accept|drop);`)
	refusal     = regexp.MustCompile(`^(counter packets \d+ bytes \d+ )?(drop|reject\b.*)$`)
)

// forwardChains reads the rules of nftables, which has those of iptables, too.
func (i *inspection) forwardChains(ctx context.Context) []ForwardChain {
	out, err := i.Run(ctx, "nft", "list", "chains")
	if err != nil {
		return nil // the check of the kernel reports that nftables does not work
	}
	var found []ForwardChain
	table, chain := "", ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if f := strings.Fields(line); len(f) > 1 && f[0] == "table" {
			table = strings.Join(f[1:len(f)-1], " ")
		} else if len(f) > 1 && f[0] == "chain" {
			chain = f[1]
		}
		hook := forwardHook.FindStringSubmatch(line)
		if hook == nil || ownTable.MatchString(table) {
			continue
		}
		rules, err := i.Run(ctx, "nft", append([]string{"list", "table"}, strings.Fields(table)...)...)
		i.problem(err, string(ConditionOf), "table "+table)
		if hook[1] == "drop" || refusal.MatchString(lastRule(rules, chain)) {
			found = append(found, ForwardChain{Table: table, Chain: chain, Rules: rules})
		}
	}
	return found
}

// lastRule is the last rule of a chain in the text of its table.
func lastRule(rules, chain string) string {
	_, rest, _ := strings.Cut(rules, "chain "+chain+" {")
	body, _, _ := strings.Cut(rest, "\n\t}")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
