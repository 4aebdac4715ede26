package portal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

const (
	indexFile = "index.html"
	// noncePlace is where the page wants the nonce of its style sheets.
	noncePlace   = "__CSP_NONCE__"
	assetsPrefix = "/assets/"
)

// page serves the built page. Its files are read once, so that a request costs no copy.
type page struct {
	index []byte
	files map[string]file // by path
}

type file struct {
	content []byte
	kind    string
}

// newPage reads the built page.
func newPage(dist fs.FS) (*page, error) {
	p := &page{files: map[string]file{}}
	err := fs.WalkDir(dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(dist, name)
		if name == indexFile {
			p.index = content
		} else {
			p.files["/"+name] = file{content, contentType(name)}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	if len(p.index) == 0 {
		return nil, errors.New("read the page: it has no " + indexFile)
	}
	return p, nil
}

// contentType does not ask the machine: its answers differ, and images have no table.
func contentType(name string) string {
	kinds := map[string]string{
		".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon", ".jpg": "image/jpeg",
		".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json", ".mjs": "text/javascript; charset=utf-8",
		".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".ttf": "font/ttf",
		".webmanifest": "application/manifest+json", ".webp": "image/webp", ".woff": "font/woff", ".woff2": "font/woff2",
	}
	if kind := kinds[path.Ext(name)]; kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// ServeHTTP answers with a file of the page, or with the page itself: it decides what an
// address shows. A file with a hash in its name never changes. One that is missing is of
// another release of the page, which must load itself again.
func (p *page) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !isSafe(req.Method) {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, errMethod)
		return
	}
	if to, ok := oldAddress(req.URL); ok {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
		return
	}
	f, found := p.files[req.URL.Path]
	switch {
	case found && strings.HasPrefix(req.URL.Path, assetsPrefix):
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	case found:
		w.Header().Set("Cache-Control", "no-cache")
	case strings.HasPrefix(req.URL.Path, assetsPrefix) || strings.HasPrefix(req.URL.Path, openPAI):
		fail(w, errNotFound)
		return
	default:
		nonce := newNonce()
		w.Header().Set("Content-Security-Policy", pagePolicy(nonce))
		f = file{bytes.ReplaceAll(p.index, []byte(noncePlace), []byte(nonce)), contentType(indexFile)}
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(f.content)))
	w.WriteHeader(http.StatusOK)
	if req.Method == http.MethodGet {
		_, _ = w.Write(f.content) // an error means that the client disconnected
	}
}
