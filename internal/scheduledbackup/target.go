package scheduledbackup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/internal/layout"
)

// probeLimit is how long a directory can take to answer.
const probeLimit = time.Minute

// target is where the machine writes its backups: a directory, or a bucket.
func (m Machine) target(s backup.Scheduled) (backup.Target, error) {
	if !s3.Is(s.To) {
		return backup.OpenTarget(m.at(s.To))
	}
	if s.S3 == nil {
		return nil, fmt.Errorf("the settings of scheduled backups do not say how %s is reached", s.To)
	}
	how := *s.S3
	key, err := s3.ReadCredentials(m.at(how.CredentialsFile), s3.DefaultProfile)
	if err != nil {
		return nil, err
	}
	if how.CAFile != "" {
		how.CAFile = m.at(how.CAFile)
	}
	return s3.Open(s.To, how, key)
}

// probe refuses a directory or a bucket that cannot have backups now.
func (m Machine) probe(ctx context.Context, s backup.Scheduled) error {
	if !s3.Is(s.To) {
		return m.probeDirectory(ctx, s.To)
	}
	target, err := m.target(s)
	if err != nil {
		return err
	}
	return s3.Reach(ctx, target)
}

// probeDirectory refuses a directory that does not exist, that hangs, or whose file system
// is not mounted. Below a mount point without its file system, a backup would be on the
// disk that it is made for.
func (m Machine) probeDirectory(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, probeLimit, fmt.Errorf("no answer within %s", probeLimit))
	defer cancel()
	_, err := within(ctx, func() (struct{}, error) {
		info, err := os.Stat(m.at(dir)) // lets an automount mount it
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return struct{}{}, fmt.Errorf("the directory %s does not exist on this machine", dir)
		case err != nil:
			return struct{}{}, err
		case !info.IsDir():
			return struct{}{}, fmt.Errorf("%s is not a directory", dir)
		}
		if err := m.checkMounted(dir); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, m.checkMounted(m.withoutLinks(dir))
	})
	return err
}

// withoutLinks is the directory that a path with links leads to.
func (m Machine) withoutLinks(dir string) string {
	root, err := filepath.EvalSymlinks(m.at("/"))
	if err != nil {
		return dir
	}
	real, err := filepath.EvalSymlinks(m.at(dir))
	if err != nil {
		return dir
	}
	inRoot, err := filepath.Rel(root, real)
	if err != nil {
		return dir
	}
	return "/" + inRoot
}

// checkMounted compares what should be mounted at the directory, or above it, with what
// is mounted.
func (m Machine) checkMounted(dir string) error {
	wanted, err := m.mountPoints("/etc/fstab", 1)
	if err != nil {
		return err
	}
	if err := m.addMountUnits(wanted); err != nil {
		return err
	}
	mounted, err := m.mountPoints("/proc/self/mountinfo", 4)
	if err != nil {
		return err
	}
	for point := range wanted {
		below := dir == point || strings.HasPrefix(dir, strings.TrimSuffix(point, "/")+"/")
		if below && point != "/" && !mounted[point] {
			return fmt.Errorf("the file system of %s is not mounted at %s", dir, point)
		}
	}
	return nil
}

// mountPoints reads a field of each line of a file, which has paths with octal escapes.
func (m Machine) mountPoints(file string, field int) (map[string]bool, error) {
	points := map[string]bool{}
	data, err := m.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return points, nil
	}
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > field && !strings.HasPrefix(fields[0], "#") && strings.HasPrefix(fields[field], "/") {
			points[path.Clean(unescape.Replace(fields[field]))] = true
		}
	}
	return points, lines.Err()
}

// addMountUnits adds where the mount units of the operator mount. A masked one is empty.
func (m Machine) addMountUnits(points map[string]bool) error {
	files, err := filepath.Glob(m.at(layout.UnitsDir + "/*.mount"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) { // a link to nothing
			continue
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			key, where, _ := strings.Cut(line, "=")
			if where = strings.TrimSpace(where); strings.TrimSpace(key) == "Where" && path.IsAbs(where) {
				points[path.Clean(where)] = true
			}
		}
	}
	return nil
}

// reserve is what a backup leaves of a disk that etcd uses, which stops when it cannot
// write.
const reserve = 1 << 30

// checkSpace refuses a directory on the disk of etcd or of PAI if a backup would fill it. A
// bucket is on no disk of the machine.
func (m Machine) checkSpace(dir string, slot layout.Slot) error {
	if s3.Is(dir) {
		return nil
	}
	db, err := os.Stat(m.at(slot.EtcdDatabase()))
	if err != nil {
		return err
	}
	own, err := deviceOf(m.at(dir))
	if err != nil {
		return err
	}
	for _, used := range []string{slot.EtcdDatabase(), layout.StateDir} {
		device, err := deviceOf(m.at(used))
		if err != nil {
			return err
		}
		if device != own {
			continue
		}
		var disk syscall.Statfs_t
		if err := syscall.Statfs(m.at(dir), &disk); err != nil {
			return &fs.PathError{Op: "statfs", Path: dir, Err: err}
		}
		if free := int64(disk.Bavail) * disk.Frsize; free < db.Size()+reserve {
			return fmt.Errorf("%s is on the disk of the control plane, which has only %d MiB free; a backup needs %d MiB", dir, free>>20, (db.Size()+reserve)>>20)
		}
	}
	return nil
}

func deviceOf(name string) (uint64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("the device of %s is unknown", name)
	}
	return s.Dev, nil
}
