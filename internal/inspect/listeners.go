package inspect

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Listener is a socket that listens for TCP connections.
type Listener struct {
	Address string
	Port    int
	Where   string // "host", "pod", or "unknown" without a visible process
	Program string // "-" if unknown
}

// listeners are the sockets that listen on some ports.
func (i *inspection) listeners(ports []int) ([]Listener, error) {
	var found []Listener
	var sockets []string // of each listener, as links of open files name it
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := i.read(table)
		if errors.Is(err, fs.ErrNotExist) && table == "/proc/net/tcp6" {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // TCP_LISTEN
				continue
			}
			l, err := parseSocket(f[1])
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", table, err)
			}
			if slices.Contains(ports, l.Port) {
				found, sockets = append(found, l), append(sockets, "socket:["+f[9]+"]")
			}
		}
	}
	if len(found) > 0 {
		i.findOwners(found, sockets)
	}
	return found, nil
}

// parseSocket reads "0100007F:1F90": words of four bytes in the order of the
// host, which is little-endian on all machines of PAI.
func parseSocket(text string) (Listener, error) {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw)%4 != 0 {
		return Listener{}, fmt.Errorf("%q is no address", text)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	ip, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return Listener{}, fmt.Errorf("%q is no address", text)
	}
	l := Listener{Address: ip.String(), Port: int(number), Where: "unknown", Program: "-"}
	if ip.Is6() {
		l.Address = "[" + l.Address + "]"
	}
	return l, nil
}

// findOwners finds the processes that have the sockets open.
func (i *inspection) findOwners(found []Listener, sockets []string) {
	files, _ := filepath.Glob(i.at("/proc/[0-9]*/fd/*")) // an error means that the name is no pattern
	for _, file := range files {
		target, err := os.Readlink(file)
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		proc := filepath.Dir(filepath.Dir(file))
		for n, socket := range sockets {
			if socket != target || found[n].Where != "unknown" {
				continue
			}
			found[n].Where = "host"
			if groups, err := os.ReadFile(proc + "/cgroup"); err == nil && strings.Contains(string(groups), "kubepods") {
				found[n].Where = "pod"
			}
			if program, err := os.Readlink(proc + "/exe"); err == nil {
				found[n].Program = program
			}
		}
	}
}
