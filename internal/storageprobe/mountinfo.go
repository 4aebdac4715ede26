package storageprobe

import (
	"path/filepath"
	"slices"
	"strings"
)

// mounted is the file system that a path is on.
type mounted struct {
	at, fileSystem, nfsVersion string
}

// local reports whether the files are on a disk of the machine. Of a type that is not known
// it says no.
func (m mounted) local() bool {
	return slices.Contains([]string{"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "tmpfs"}, m.fileSystem)
}

// mountOf finds the file system of a directory in a file in the form of proc_pid_mountinfo(5).
// It is empty if none is found.
func mountOf(mountinfo, dir string) (found mounted) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(source) < 1 {
			continue
		}
		at := unescape.Replace(fields[4])
		// A later mount at the same path covers the earlier one.
		if within(at, dir) && len(at) >= len(found.at) {
			found = mounted{at: at, fileSystem: source[0], nfsVersion: versionIn(source)}
		}
	}
	return found
}

func within(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// versionIn is the version of NFS in the type, source, and options of a mount.
func versionIn(source []string) string {
	if len(source) < 3 || !strings.HasPrefix(source[0], "nfs") {
		return ""
	}
	for option := range strings.SplitSeq(source[2], ",") {
		if version, ok := strings.CutPrefix(option, "vers="); ok {
			return version
		}
	}
	return ""
}
