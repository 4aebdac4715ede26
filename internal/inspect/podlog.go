package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
)

// Limits of what is read of logs. The kubelet rotates a log at 10 MiB and leaves the
// last rotated file uncompressed.
const (
	maxLog  = 16 << 20  // of one container
	maxLogs = 256 << 20 // of all containers
	// logTries is how often a log is read that is rotated meanwhile.
	logTries = 3
)

// errRotated: a log was rotated while it was read, so a part of it was not read.
var errRotated = errors.New("the log was rotated while it was read")

// eachLine calls add with the time of each line in the log of a running container,
// of at most limit bytes at its end. After a rotation it starts again, with reset.
func (i *inspection) eachLine(c Container, limit int64, reset func(), add func(at time.Time)) error {
	dir := layout.PodLogs + "/" + c.Namespace + "_" + c.Pod + "_" + c.PodUID + "/" + c.Name
	for try := 1; ; try++ {
		reset()
		err := i.readLog(dir, limit, add)
		if !errors.Is(err, errRotated) || try == logTries {
			return err
		}
	}
}

func (i *inspection) readLog(dir string, limit int64, add func(at time.Time)) error {
	before, err := i.logFiles(dir)
	if err != nil {
		return err
	}
	skip := -limit // bytes before the part that is read
	for _, f := range before {
		skip += f.size
	}
	for _, f := range before {
		if skip < f.size {
			if err := i.readLogFile(dir+"/"+f.name, max(skip, 0), add); err != nil {
				return err
			}
		}
		skip -= f.size
	}
	after, err := i.logFiles(dir)
	if err != nil {
		return err
	}
	same := func(a, b logFile) bool { return a.name == b.name && os.SameFile(a.info, b.info) }
	if !slices.EqualFunc(before, after, same) {
		return errRotated
	}
	return nil
}

// logFile is a file of a log that is not compressed.
type logFile struct {
	name string
	size int64
	info fs.FileInfo
}

// logFiles lists the files of the log of a running container, oldest first. The
// kubelet names them "<restarts>.log" and, after a rotation, "<restarts>.log.<time>".
func (i *inspection) logFiles(dir string) ([]logFile, error) {
	names, err := i.names(dir)
	if err != nil {
		return nil, err
	}
	newest := -1
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimSuffix(name, ".log")); err == nil && strings.HasSuffix(name, ".log") {
			newest = max(newest, n)
		}
	}
	if newest < 0 {
		return nil, fmt.Errorf("%s has no log", dir)
	}
	current := strconv.Itoa(newest) + ".log"
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, current+".") || strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".tmp")
	})
	slices.Sort(names)
	var files []logFile
	for _, name := range append(names, current) {
		info, err := os.Stat(i.at(dir + "/" + name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errRotated
		}
		if err != nil {
			return nil, i.plain(err)
		}
		files = append(files, logFile{name, info.Size(), info})
	}
	return files, nil
}

// readLogFile reads a file from an offset, which can be within a line.
func (i *inspection) readLogFile(name string, offset int64, add func(at time.Time)) error {
	f, err := os.Open(i.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return errRotated
	}
	if err != nil {
		return i.plain(err)
	}
	defer f.Close() // it is only read
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return i.plain(err)
	}
	r := bufio.NewReaderSize(f, 64<<10)
	partial := offset > 0
	for {
		line, more, err := r.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return i.plain(err)
		}
		stamp, _, _ := strings.Cut(string(line[:min(len(line), 64)]), " ")
		at, parseErr := time.Parse(time.RFC3339Nano, stamp)
		if parseErr == nil && !partial {
			add(at)
		}
		partial = more
	}
}
