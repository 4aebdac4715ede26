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

// site is the place of the machines of one StateDir, and the mark that identifies
// what belongs to them on this host.
type site struct {
	dir      string // StateDir/local
	stateDir string
	mark     string // "pai-" and six digits
}

func (l Local) site() (site, error) {
	dir, err := filepath.Abs(l.StateDir)
	if err != nil {
		return site{}, fmt.Errorf("find the state directory: %w", err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	sum := sha256.Sum256([]byte(dir))
	return site{dir: filepath.Join(dir, "local"), stateDir: dir, mark: "pai-" + hex.EncodeToString(sum[:3])}, nil
}

// Mark is the prefix of all names of these machines on the host: network
// namespaces, links, control groups, and systemd-nspawn machines.
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

// containers are the machines with a root file system, in order.
func (s site) containers() ([]container, error) {
	all, err := s.all()
	return slices.DeleteFunc(all, func(m container) bool { return !m.exists() }), err
}

// all are the machines with a directory, complete or not.
func (s site) all() ([]container, error) {
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
