package tasklog

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/pai"
)

// keptFiles is how many files of a container a kubelet keeps, its default. While it
// compresses a file, there is one less.
const keptFiles = 5

// filePattern is the name of a file of a container: the number of its restarts, and for
// a rotated file the time of its rotation, which sorts as text.
var filePattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.log(\.[0-9]{8}-[0-9]{6})?(\.gz|\.tmp)?$`)

// logFile is an open file. What is written after it was opened does not belong to it.
type logFile struct {
	name string
	file *os.File
	size int64
}

// reader starts at the beginning of the file.
func (f logFile) reader() (io.Reader, error) {
	content := io.NewSectionReader(f.file, 0, f.size)
	if strings.HasSuffix(f.name, ".gz") {
		return gzip.NewReader(content)
	}
	return content, nil
}

// logFiles are the files of one container, oldest first.
type logFiles struct {
	files []logFile
	// removed is whether the kubelet might have removed older ones.
	removed bool
}

func (l logFiles) close() {
	for _, f := range l.files {
		f.file.Close()
	}
}

// openAttempts is how often the files are opened again because the kubelet rotated them
// meanwhile, which it does every ten seconds at most.
const openAttempts = 5

// open opens all files of the newest container of a pod. root is the directory of all
// pods. The error is ErrGone if there is no file.
func open(root *os.Root, r Request) (logFiles, error) {
	dir, err := containerDir(root, r)
	if err != nil {
		return logFiles{}, err
	}
	defer dir.Close()
	for range openAttempts {
		before, err := newestContainer(dir)
		if err != nil {
			return logFiles{}, err
		}
		if len(before) == 0 {
			return logFiles{}, ErrGone
		}
		opened, err := openAll(dir, before)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return logFiles{}, err
		}
		after, err := newestContainer(dir)
		if err == nil && slices.Equal(before, after) && opened.areCurrent(dir) {
			return opened, nil
		}
		opened.close()
		if err != nil {
			return logFiles{}, err
		}
	}
	return logFiles{}, pai.Errorf(pai.CodeFailed, "run the command again", "the files of the output change too fast")
}

// containerDir opens the directory of the container in the newest directory of the pod.
func containerDir(root *os.Root, r Request) (*os.Root, error) {
	all, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list the output of pods: %w", err)
	}
	prefix := r.Namespace + "_" + r.Pod + "_"
	var newest fs.FileInfo
	for _, entry := range all {
		if !strings.HasPrefix(entry.Name(), prefix) || !entry.IsDir() {
			continue
		}
		info, err := entry.Info()
		if err == nil && (newest == nil || info.ModTime().After(newest.ModTime())) {
			newest = info
		}
	}
	if newest == nil {
		return nil, ErrGone
	}
	dir, err := root.OpenRoot(newest.Name() + "/" + r.Container)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open the output of pod %s: %w", r.Pod, err)
	}
	return dir, nil
}

// newestContainer returns the names of the files of the newest container, oldest first.
func newestContainer(dir *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list the files of the output: %w", err)
	}
	newest, names := -1, []string{}
	for _, entry := range entries {
		m := filePattern.FindStringSubmatch(entry.Name())
		if m == nil || !entry.Type().IsRegular() {
			continue
		}
		restarts, err := strconv.Atoi(m[1])
		if err != nil || restarts < newest {
			continue
		}
		if restarts > newest {
			newest, names = restarts, names[:0]
		}
		names = append(names, entry.Name())
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rotation(a), rotation(b)), cmp.Compare(a, b))
	})
	return names, nil
}

// rotation is the time of the rotation in a name. That of the current file is the last.
func rotation(name string) string {
	if t := filePattern.FindStringSubmatch(name)[2]; t != "" {
		return t
	}
	return "~"
}

func openAll(dir *os.Root, names []string) (logFiles, error) {
	opened, compressing := logFiles{}, false
	for i, name := range names {
		if strings.HasSuffix(name, ".tmp") {
			compressing = true
			continue
		}
		// The kubelet has written the compressed file, and removes this one.
		if i+1 < len(names) && names[i+1] == name+".gz" {
			continue
		}
		file, err := dir.Open(name)
		if err != nil {
			opened.close()
			return logFiles{}, fmt.Errorf("open the output: %w", err)
		}
		info, err := file.Stat()
		opened.files = append(opened.files, logFile{name: name, file: file})
		if err != nil {
			opened.close()
			return logFiles{}, fmt.Errorf("open the output: %w", err)
		}
		opened.files[len(opened.files)-1].size = info.Size()
	}
	opened.removed = len(opened.files) >= keptFiles || compressing && len(opened.files) >= keptFiles-1
	return opened, nil
}

// areCurrent reports whether each file is still that of its name.
func (l logFiles) areCurrent(dir *os.Root) bool {
	for _, f := range l.files {
		opened, err := f.file.Stat()
		if err != nil {
			return false
		}
		if named, err := dir.Stat(f.name); err != nil || !os.SameFile(opened, named) {
			return false
		}
	}
	return true
}
