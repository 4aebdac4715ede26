package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
)

// Machine is a machine that can be inspected.
type Machine struct {
	// Root is its root directory: "/", or a made-up directory.
	Root string
	// Run runs a program of the machine and returns its standard output, also if
	// the program fails. The name is a path on the machine or is looked up.
	Run func(ctx context.Context, name string, args ...string) (string, error)
	// Networks are the IPv4 addresses of its interfaces; those of this host if it is nil.
	Networks func() ([]Network, error)
	// Now is the clock of the machine; time.Now if it is nil.
	Now func() time.Time
}

func (m Machine) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Inspect fills the requested parts of a report. program is the sha256 of the
// running program.
func (m Machine) Inspect(ctx context.Context, r Request, program string) Report {
	i := &inspection{Machine: m, request: r, report: Report{Program: program, Problems: map[string]string{}}}
	i.digests = readDigests(m.at(layout.DigestsFile))
	for _, p := range r.Parts {
		fill, known := parts()[p]
		if !known {
			i.problem(fmt.Errorf("unknown part"), string(p))
			continue
		}
		i.problem(fill(i, ctx), string(p))
	}
	i.digests.save()
	if r.Delivered {
		i.problem(m.removeOlder(), "older helpers")
	}
	return i.report
}

func parts() map[Part]func(*inspection, context.Context) error {
	return map[Part]func(*inspection, context.Context) error{
		Programs: (*inspection).programs,
		Roles:    (*inspection).roles,
		Prepared: (*inspection).prepared,
		Images:   (*inspection).images,
		Facts:    (*inspection).facts,
		Foreign:  (*inspection).foreign,

		DevicePlugin: (*inspection).devicePlugin,

		Directories: (*inspection).directories,

		Containers:  (*inspection).containers,
		Shims:       (*inspection).shims,
		PausesOf:    (*inspection).pauses,
		Versions:    (*inspection).versions,
		Runtime:     (*inspection).runtime,
		HardwareOf:  (*inspection).hardware,
		GPUsOf:      (*inspection).gpuState,
		ConditionOf: (*inspection).condition,

		Certificates: (*inspection).allCertificates,
		Backups:      (*inspection).backups,
		Operator:     (*inspection).operator,
		Keyring:      (*inspection).keyring,
	}
}

// inspection is a report that is being filled.
type inspection struct {
	Machine
	request Request
	report  Report
	digests *digests
}

// problem records why a value is absent.
func (i *inspection) problem(err error, of ...string) {
	if err != nil {
		i.report.Problems[strings.Join(of, " ")] = err.Error()
	}
}

// at is the path of a file of the machine.
func (m Machine) at(name string) string { return filepath.Join(m.Root, name) }

// open is where a file of the machine is read. In a made-up root,
// an absolute link names a file in that root.
func (m Machine) open(name string) string {
	if m.Root == "/" {
		return name
	}
	target, err := os.Readlink(m.at(name))
	if err == nil && path.IsAbs(target) {
		return m.at(target)
	}
	return m.at(name)
}

func (m Machine) read(name string) ([]byte, error) {
	data, err := os.ReadFile(m.open(name))
	return data, m.plain(err)
}

// readlink is the target of a link at a path of this host, as the machine names it.
func (m Machine) readlink(file string) (string, error) {
	target, err := os.Readlink(file)
	return target, m.plain(err)
}

// readAt reads a file at a path of this host.
func (m Machine) readAt(file string) (string, error) {
	data, err := os.ReadFile(file)
	return string(data), m.plain(err)
}

// names lists a directory; nothing if it does not exist.
func (m Machine) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(m.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, m.plain(err)
}

func (m Machine) exists(name string) (bool, error) {
	_, err := os.Stat(m.open(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, m.plain(err)
}

// plain names the file of an error as the machine does.
func (m Machine) plain(err error) error {
	failed := new(fs.PathError)
	if m.Root == "/" || !errors.As(err, &failed) {
		return err
	}
	return &fs.PathError{Op: failed.Op, Path: "/" + strings.TrimPrefix(strings.TrimPrefix(failed.Path, m.Root), "/"), Err: failed.Err}
}
