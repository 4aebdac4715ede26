// Package fingerprint computes digests of what runs on a machine and of what should
// run there. Both sides compute them: the machine from its files and processes,
// paictl from the bundle and the files that it would write.
package fingerprint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
)

// Variable is the environment variable of a role's process that has the digest
// of the settings that it was started with. Roles that PAI v0.10 and older
// started have none.
const Variable = "PAI_SETTINGS"

// Settings are what a role is started with, apart from its programs.
type Settings struct {
	// Dir is the directory of the version. Its own path in a file makes no
	// difference between two versions.
	Dir string
	// Script starts the role, and Unit starts the script.
	Script, Unit []byte
	// Files are the configuration files of the role by base name.
	Files map[string][]byte
}

// Digest is the digest of the settings in hex. It leaves out what differs
// between two versions with the same settings, and what changes within a hop: the
// emulated version, and which API server the proxy drains. It is empty without a
// script.
func (s Settings) Digest() string {
	if len(s.Script) == 0 {
		return ""
	}
	h := sha256.New()
	s.add(h, "script", s.Script)
	s.add(h, "unit", s.Unit)
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		s.add(h, "file "+name, s.Files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s Settings) add(h io.Writer, name string, content []byte) {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(string(content), s.Dir+"/", "VERSION/")) {
		// The last flag or key is followed by nothing.
		line = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(line, "\n"), ` \`), ",")
		if !versionOnly(strings.TrimSpace(line)) {
			lines = append(lines, line)
		}
	}
	fmt.Fprintf(h, "%s %d\n%s\n", name, len(lines), strings.Join(lines, "\n"))
}

// versionOnly reports whether a line says only which version starts, or what
// changes within a hop.
func versionOnly(line string) bool {
	return strings.HasPrefix(line, "# Written by PAI") || strings.HasPrefix(line, "export "+Variable+"=") ||
		strings.HasPrefix(line, "--emulated-version=") || line == `"draining": true`
}

// Mark adds the digest of the settings to a script, so that the environment of
// the process shows it.
func Mark(script, digest string) string {
	first, rest, _ := strings.Cut(script, "\n")
	return first + "\nexport " + Variable + "=" + digest + "\n" + rest
}

// Unmark removes what Mark added.
func Unmark(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "export "+Variable+"=") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Marked reports whether a script has the digest of its settings.
func Marked(script []byte) bool {
	return bytes.Contains(script, []byte("\nexport "+Variable+"="))
}

// Programs is the digest of the programs of a role. files has the sha256 of each
// program by its path in the directory of the version, "bin/runc". The result is
// empty if a program is missing or its digest unknown.
func Programs(r layout.Role, files map[string]string) string {
	own := maps.Clone(files)
	maps.DeleteFunc(own, func(path, _ string) bool { return !layout.IsProgramOf(r, path) })
	for _, wanted := range layout.ProgramsOf(r) {
		if !strings.HasSuffix(wanted, "/") && own[wanted] == "" {
			return ""
		}
	}
	return Directory(own)
}

// Directory is the digest of a whole set of programs by path. It is empty for an
// empty set, and if the digest of one of them is unknown.
func Directory(files map[string]string) string {
	if len(files) == 0 {
		return ""
	}
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if files[path] == "" {
			return ""
		}
		fmt.Fprintf(h, "%s %s\n", files[path], path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Of is the digest of a file's content in hex.
func Of(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
