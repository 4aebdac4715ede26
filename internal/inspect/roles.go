package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
)

// roles reports the roles that have a link or a unit.
func (i *inspection) roles(ctx context.Context) error {
	links, err := i.links()
	if err != nil {
		return err
	}
	names, err := i.roleNames(links)
	if err != nil {
		return err
	}
	var asked []string
	for _, r := range names {
		asked = append(asked, layout.Unit(r))
	}
	units, err := i.units(ctx, asked...)
	if err != nil {
		return err
	}
	roles := map[layout.Role]Role{}
	for _, r := range names {
		if roles[r], err = i.role(r, links[r], units[layout.Unit(r)]); err != nil {
			return fmt.Errorf("read role %s: %w", r, err)
		}
	}
	i.report.Roles = roles
	return nil
}

// links are the base names of the directories that the links of roles name.
func (i *inspection) links() (map[layout.Role]string, error) {
	names, err := i.names(layout.RolesDir)
	links := map[layout.Role]string{}
	for _, name := range names {
		r := layout.Role(name)
		link, err := i.linkOf(layout.RoleLink(r))
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(name, layout.IncompleteSuffix) {
			continue // no link, or one that is being moved
		}
		if err != nil {
			return nil, err
		}
		links[r] = link
	}
	return links, err
}

// roleNames are the requested roles, or all that have a link or a unit.
func (i *inspection) roleNames(links map[layout.Role]string) ([]layout.Role, error) {
	if len(i.request.Only) > 0 {
		return i.request.Only, nil
	}
	units, err := i.unitFiles()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(links)
	for _, name := range units {
		all[layout.Role(strings.TrimSuffix(strings.TrimPrefix(name, layout.UnitPrefix), ".service"))] = ""
	}
	maps.DeleteFunc(all, func(r layout.Role, _ string) bool {
		return slices.Contains([]string{layout.PrepareUnit, layout.ShutdownUnit, layout.BackupUnit}, layout.Unit(r))
	})
	return slices.Sorted(maps.Keys(all)), nil
}

// unitFiles are the names of PAI's units.
func (i *inspection) unitFiles() ([]string, error) {
	names, err := i.names(layout.UnitsDir)
	return slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, layout.UnitPrefix) || !strings.HasSuffix(name, ".service")
	}), err
}

// role reports one role. A digest that is unknown does not make the role unknown.
func (i *inspection) role(r layout.Role, link string, u unit) (role Role, err error) {
	role = Role{Link: link, Active: u.active(), PID: u.pid, NeedsReload: u.needsReload, KillMode: u.killMode}
	role.DiskSettings, role.DiskMarked, err = i.diskSettings(r, link)
	i.problem(err, string(Roles), string(r), "settings on disk")
	defer func() { role.Programs = i.rolePrograms(r, role) }()
	if u.pid != 0 {
		switch running, err := i.process(&role, r); {
		case err != nil:
			return role, err
		case running:
			return role, nil
		}
	}
	role.PID = 0
	role.Emulates, role.Elects, err = i.nextFlags(r, link)
	return role, err
}

// rolePrograms is the digest of the programs of a role; empty if one is unknown.
func (i *inspection) rolePrograms(r layout.Role, role Role) string {
	files := map[string]string{}
	add := func(name string) {
		digest, err := i.digests.of(i.at(layout.VersionDir(role.Link) + "/" + name))
		i.problem(i.plain(err), string(Roles), string(r), "program "+name)
		files[name] = digest
	}
	for n, name := range layout.ProgramsOf(r) {
		switch {
		case role.Link == "":
			return ""
		case n == 0 && role.PID != 0:
			files[name] = role.ProgramDigest
		case strings.HasSuffix(name, "/"):
			plugins, err := i.names(layout.VersionDir(role.Link) + "/" + name)
			i.problem(err, string(Roles), string(r), "programs in "+name)
			for _, plugin := range plugins {
				add(name + plugin)
			}
		default:
			add(name)
		}
	}
	return fingerprint.Programs(r, files)
}

// process reports the main process of a role. It reports false if the process has
// ended in the meantime.
func (i *inspection) process(role *Role, r layout.Role) (bool, error) {
	proc := fmt.Sprintf("/proc/%d", role.PID)
	program, err := os.Readlink(i.at(proc + "/exe"))
	command, commandErr := i.read(proc + "/cmdline")
	if err = errors.Join(i.plain(err), commandErr); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			err = nil
		}
		return false, err
	}
	role.Program, role.Emulates = program, valueOf(command, "--emulated-version=")
	role.Elects = valueOf(command, "--leader-elect=") == "true"
	role.ProgramDigest, err = i.digests.of(i.open(proc + "/exe"))
	i.problem(i.plain(err), string(Roles), string(r), "program")
	environment, err := i.read(proc + "/environ")
	i.problem(err, string(Roles), string(r), "settings")
	role.Settings = valueOf(environment, fingerprint.Variable+"=")
	return true, nil
}

// valueOf is the rest of the first word with a prefix, among words that end in NUL.
func valueOf(words []byte, prefix string) string {
	for word := range strings.SplitSeq(string(words), "\x00") {
		if value, found := strings.CutPrefix(word, prefix); found {
			return value
		}
	}
	return ""
}

var (
	emulatedVersion = regexp.MustCompile(`--emulated-version=([0-9.]*)`)
	leaderElect     = regexp.MustCompile(`--leader-elect=true\b`)
)

// nextFlags is the version that a stopped role will behave as, and whether it will elect a
// leader.
func (i *inspection) nextFlags(r layout.Role, link string) (emulates string, elects bool, err error) {
	if link == "" {
		return "", false, nil
	}
	script, err := i.read(layout.RunScript(link, r))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if found := emulatedVersion.FindSubmatch(script); found != nil {
		emulates = string(found[1])
	}
	return emulates, leaderElect.Match(script), err
}

// diskSettings is the digest of the settings that a role would start with, and
// whether its process would have it in its environment.
func (i *inspection) diskSettings(r layout.Role, link string) (digest string, marked bool, err error) {
	if link == "" {
		return "", false, nil
	}
	s := fingerprint.Settings{Dir: layout.VersionDir(link), Files: map[string][]byte{}}
	var problems []error
	read := func(file string) []byte {
		data, err := i.read(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
		return data
	}
	s.Script, s.Unit = read(layout.RunScript(link, r)), read(layout.UnitsDir+"/"+layout.Unit(r))
	for _, file := range layout.ConfigsOf(link, r) {
		s.Files[path.Base(file)] = read(file)
	}
	if err := errors.Join(problems...); err != nil {
		return "", false, err
	}
	return s.Digest(), fingerprint.Marked(s.Script), nil
}
