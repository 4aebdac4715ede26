package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Small scripts write, read, and list files instead of sftp: they also work
// through sudo, set the mode before there is content, and need one round trip.

// temporaryPrefix begins the names of files that are being written.
const temporaryPrefix = ".pai-tmp."

// The exit codes of the scripts for results that are not failures.
const (
	codeExists   = 101
	codeNotExist = 102
)

// putScript writes standard input to the file $path in $dir through a temporary
// file, which only its owner can read until it is complete. Temporary files of
// killed calls are removed after an hour. Those of calls at the same time can go while find
// reads the directory.
const putScript = `
umask 022
mkdir -p -- "$dir"
find "$dir" -ignore_readdir_race -maxdepth 1 -name '.pai-tmp.*' -mmin +60 -type f -delete
tmp=$(umask 077; mktemp -- "$dir/.pai-tmp.XXXXXXXXXX")
trap 'rm -f -- "$tmp"' EXIT
cat >"$tmp"
chmod -- "$mode" "$tmp"
sync -- "$tmp"
case "$how" in
replace)
    mv -fT -- "$tmp" "$path"
    ;;
create)
    problem=$(LC_ALL=C ln -T -- "$tmp" "$path" 2>&1) || case "$problem" in
        *"File exists"*) exit 101 ;;
        *) echo "$problem" >&2; exit 1 ;;
    esac
    rm -f -- "$tmp"
    ;;
esac
sync -- "$dir"
`

func (h *sshHost) put(ctx context.Context, file string, data []byte, mode fs.FileMode, how string) error {
	script := fmt.Sprintf("path=%s dir=%s mode=%04o how=%s\n%s", Quote(file), Quote(path.Dir(file)), mode.Perm(), how, putScript)
	return h.fileScript(ctx, "write", file, Command{Script: script, Stdin: bytes.NewReader(data)}, nil)
}

// WriteFile replaces a file atomically.
func (h *sshHost) WriteFile(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	return h.put(ctx, file, data, mode, "replace")
}

// CreateFile writes a file that must not exist yet.
func (h *sshHost) CreateFile(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	return h.put(ctx, file, data, mode, "create")
}

// maxAppend is the most that AppendFile appends.
const maxAppend = 1 << 20

// appendScript appends standard input to the file $path in $dir: dd reads all of
// it before its only write.
const appendScript = `
umask 022
mkdir -p -- "$dir"
umask 077
new=
[ -e "$path" ] || new=1
dd of="$path" oflag=append conv=notrunc,fsync bs="$size" count=1 iflag=fullblock status=none
[ -z "$new" ] || sync -- "$dir"
`

// AppendFile adds data to the end of a file.
func (h *sshHost) AppendFile(ctx context.Context, file string, data []byte) error {
	if len(data) == 0 || len(data) > maxAppend {
		return fmt.Errorf("append to file %q on machine %q: %d bytes are not between 1 and %d", file, h.endpoint.Name, len(data), maxAppend)
	}
	script := fmt.Sprintf("path=%s dir=%s size=%d\n%s", Quote(file), Quote(path.Dir(file)), len(data), appendScript)
	return h.fileScript(ctx, "append to", file, Command{Script: script, Stdin: bytes.NewReader(data)}, nil)
}

// ReadFile returns a file's content.
func (h *sshHost) ReadFile(ctx context.Context, file string) ([]byte, error) {
	var content bytes.Buffer
	script := fmt.Sprintf("path=%s\n[ -e \"$path\" ] || exit %d\nexec cat -- \"$path\"", Quote(file), codeNotExist)
	err := h.fileScript(ctx, "read", file, Command{Script: script, Stdout: &content}, nil)
	if err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// Remove removes a file, if it exists.
func (h *sshHost) Remove(ctx context.Context, file string) error {
	script := fmt.Sprintf("path=%s\n[ -e \"$path\" ] || [ -L \"$path\" ] || exit 0\nrm -f -- \"$path\"\nsync -- %s", Quote(file), Quote(path.Dir(file)))
	return h.fileScript(ctx, "remove", file, Command{Script: script}, nil)
}

// ReadDir lists the names in a directory, sorted, without temporary files.
func (h *sshHost) ReadDir(ctx context.Context, dir string) ([]string, error) {
	var out Output
	script := fmt.Sprintf("path=%s\n[ -e \"$path\" ] || exit 0\nexec find \"$path\" -ignore_readdir_race -mindepth 1 -maxdepth 1 -printf '%%f\\0'", Quote(path.Clean(dir)+"/"))
	if err := h.fileScript(ctx, "list", dir, Command{Script: script}, &out); err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(out.Stdout, "\x00"), "\x00")
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" || strings.HasPrefix(name, temporaryPrefix) })
	slices.Sort(names)
	return names, nil
}

// fileScript runs a script of this file. Its error names the file on the machine.
func (h *sshHost) fileScript(ctx context.Context, verb, file string, c Command, out *Output) error {
	if !path.IsAbs(file) {
		return fmt.Errorf("%s file %q on machine %q: the path is not absolute", verb, file, h.endpoint.Name)
	}
	o, err := h.Run(ctx, c)
	if out != nil {
		*out = o
	}
	failure := new(CommandError)
	if errors.As(err, &failure) {
		switch failure.Code {
		case codeExists:
			err = fs.ErrExist
		case codeNotExist:
			err = fs.ErrNotExist
		default:
			err = fmt.Errorf("code %d: %s", failure.Code, strings.TrimSpace(failure.Output))
		}
	}
	if err != nil {
		return fmt.Errorf("%s file %q on machine %q: %w", verb, file, h.endpoint.Name, err)
	}
	return nil
}
