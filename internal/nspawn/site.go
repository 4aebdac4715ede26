package nspawn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// site is where one StateDir keeps its machines, and the mark by which this
// host shows what is theirs.
type site struct {
	dir      string // StateDir/local
	stateDir string
	mark     string // "pai-" and six digits
}

func (l Local) site() (site, error) {
	dir, err := filepath.Abs(l.StateDir)
	if err != nil {
		return site{}, fmt.Errorf("find the state folder: %w", err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	sum := sha256.Sum256([]byte(dir))
	return site{dir: filepath.Join(dir, "local"), stateDir: dir, mark: "pai-" + hex.EncodeToString(sum[:3])}, nil
}

// Mark begins the name of everything that exists of this folder's machines on
// the host outside of it: network namespaces, links, control groups, and the
// names that systemd-nspawn knows the machines by.
func (l Local) Mark() (string, error) {
	s, err := l.site()
	return s.mark, err
}

func (s site) keyFile() string    { return filepath.Join(s.stateDir, "keys", "ssh_ed25519") }
func (s site) knownHosts() string { return filepath.Join(s.dir, "known_hosts") }

func (s site) container(index int) container {
	name := "pai-" + strconv.Itoa(index)
	return container{site: s, index: index, name: name, dir: filepath.Join(s.dir, "machines", name)}
}

// containers are those that have a root file system, in order.
func (s site) containers() ([]container, error) {
	all, err := s.folders()
	return slices.DeleteFunc(all, func(m container) bool { return !m.exists() }), err
}

// folders are the machines that have a folder, be it whole or not.
func (s site) folders() ([]container, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "machines"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("list the local machines: %w", err)
	}
	var all []container
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "pai-")
		if i, err := strconv.Atoi(number); ok && err == nil && i >= 1 && i <= MaxLocal {
			all = append(all, s.container(i))
		}
	}
	slices.SortFunc(all, func(a, b container) int { return a.index - b.index })
	return all, nil
}

func (s site) local(n network, m container) LocalMachine {
	state := StateStopped
	if m.running() {
		state = StateRunning
	}
	return LocalMachine{Name: m.name, Address: n.address(m.index).String(), Port: 22, User: "root",
		KeyFile: s.keyFile(), KnownHosts: s.knownHosts(), State: state}
}

func (s site) list(n network, all []container) []LocalMachine {
	list := make([]LocalMachine, 0, len(all))
	for _, m := range all {
		list = append(list, s.local(n, m))
	}
	return list
}
