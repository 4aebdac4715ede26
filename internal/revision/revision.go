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

// Info is what is told of a revision.
type Info struct {
	Number int       `json:"revision"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"` // user@host
	Why    string    `json:"why"`
}

func (i Info) String() string {
	return fmt.Sprintf("revision %d, by %s at %s: %s", i.Number, i.By, i.Time.Local().Format("2006-01-02 15:04"), i.Why)
}

// Revision is a whole configuration as it was at one moment. Its files may
// hold passwords: they are neither shown nor logged.
type Revision struct {
	Info
	Files map[string][]byte `json:"files"` // by their names in the folder
}

// Same reports whether the revision is precisely these files.
func (r Revision) Same(files map[string][]byte) bool {
	return maps.EqualFunc(r.Files, files, bytes.Equal)
}

// checkContent refuses what must not leave the operator's host, and what has
// no room in the mirror.
func checkContent(files map[string][]byte) error {
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		total += len(files[name])
		if i := bytes.Index(files[name], []byte("PRIVATE KEY-----")); i >= 0 {
			line := 1 + bytes.Count(files[name][:i], []byte("\n"))
			return pai.Errorf(pai.CodeRefused, "name the key's file instead (keyfile-path); keys stay on your host",
				"%s:%d has a private key in it", name, line)
		}
	}
	if total > maxSize {
		return pai.Errorf(pai.CodeRefused, "shorten its comments, or give machines that are alike one machine-sku",
			"the configuration has %d bytes, and a revision has room for %d", total, maxSize)
	}
	return nil
}

// maxSize leaves some of a Secret's 1 MiB (core/v1 MaxSecretSize) to the rest of it.
const maxSize = 1<<20 - 64<<10

// firstLine keeps a reason to one line, so that lists stay lists.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
