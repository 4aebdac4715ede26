package scheduledbackup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// probeLimit is how long a directory can take to answer.
const probeLimit = time.Minute

// probe refuses a directory that cannot have backups now: one that does not exist, that
// hangs, or whose file system is not mounted. Below a mount point without its file
// system, a backup would be on the disk that it is made for.
func (m Machine) probe(ctx context.Context, dir string) error {
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
		return struct{}{}, m.checkMounted(dir)
	})
	return err
}

// checkMounted compares what should be mounted at the directory, or above it, with what
// is mounted.
func (m Machine) checkMounted(dir string) error {
	wanted, err := m.mountPoints("/etc/fstab", 1)
	if err != nil {
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
			points[unescape.Replace(fields[field])] = true
		}
	}
	return points, lines.Err()
}
