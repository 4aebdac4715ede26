package inspect

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
)

// helperName is the name of a helper's directory: the start of its sha256.
var helperName = regexp.MustCompile(`^[0-9a-f]{16}$`)

func isHelper(name string) bool { return helperName.MatchString(name) }

// keepHelpers is how many helpers stay. An older paictl that is still in use
// finds its own again.
const keepHelpers = 2

// removeOlder removes helpers of other versions of paictl: all but the newest
// ones, and none that runs or that a unit starts. What is no helper stays.
func (m Machine) removeOlder() error {
	type helper struct {
		dir string
		at  time.Time
	}
	names, err := m.names(layout.HelperDir)
	var helpers []helper
	for _, name := range names {
		dir := layout.HelperDir + "/" + name
		if info, err := os.Stat(m.at(dir)); err == nil && info.IsDir() && isHelper(name) {
			helpers = append(helpers, helper{dir, info.ModTime()})
		}
	}
	if err != nil || len(helpers) <= keepHelpers {
		return err
	}
	slices.SortFunc(helpers, func(a, b helper) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.dir, b.dir)) })
	running, err := m.runningPrograms()
	for _, name := range []string{layout.CertificatesUnit, layout.BackupUnit} {
		unit, failed := m.read(layout.UnitsDir + "/" + name)
		if errors.Is(failed, fs.ErrNotExist) {
			continue
		}
		err = errors.Join(err, failed)
		for word := range strings.FieldsSeq(strings.ReplaceAll(string(unit), "=", " ")) {
			running = append(running, word)
		}
	}
	for _, h := range helpers[keepHelpers:] {
		if err == nil && !slices.ContainsFunc(running, func(program string) bool { return strings.HasPrefix(program, h.dir+"/") }) {
			err = os.RemoveAll(m.at(h.dir))
		}
	}
	return err
}

// runningPrograms are the paths of the programs of all processes.
func (m Machine) runningPrograms() ([]string, error) {
	links, err := filepath.Glob(m.at("/proc/[0-9]*/exe"))
	if err == nil && len(links) == 0 {
		err = errors.New("no process found")
	}
	var programs []string
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil { // a process that ended, or one of the kernel
			programs = append(programs, program)
		}
	}
	return programs, err
}
