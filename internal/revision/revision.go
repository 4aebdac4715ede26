package revision

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// Info describes a revision.
type Info struct {
	Number int       `json:"revision"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"` // user@host
	Why    string    `json:"why"`
}

func (i Info) String() string {
	return fmt.Sprintf("revision %d, by %s at %s: %s", i.Number, i.By, i.Time.Local().Format("2006-01-02 15:04"), i.Why)
}

// Revision is a complete configuration. Its files can contain passwords: they
// are neither shown nor logged.
type Revision struct {
	Info
	Files map[string][]byte `json:"files"` // by their names in the directory
}

// Same reports whether the revision has exactly these files.
func (r Revision) Same(files map[string][]byte) bool {
	return maps.EqualFunc(r.Files, files, bytes.Equal)
}

// checkContent refuses private keys, which must not leave the operator's host,
// and content that is too large for the mirror.
func checkContent(files map[string][]byte) error {
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		total += len(files[name])
		if i := bytes.Index(files[name], []byte("PRIVATE KEY-----")); i >= 0 {
			line := 1 + bytes.Count(files[name][:i], []byte("\n"))
			return pai.Errorf(pai.CodeRefused, "name the file of the key (keyfile-path), so that the key stays on your host",
				"%s:%d contains a private key", name, line)
		}
	}
	if total > maxSize {
		return pai.Errorf(pai.CodeRefused, "shorten its comments, or use one machine-sku for equal machines",
			"the configuration has %d bytes, and a revision can have at most %d", total, maxSize)
	}
	return nil
}

// maxSize leaves part of the 1 MiB of a Secret (core/v1 MaxSecretSize) for its metadata.
const maxSize = 1<<20 - 64<<10

// firstLine shortens a reason to one line, for lists.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
