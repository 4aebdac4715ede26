package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"pai.dev/pai/internal/filelock"
)

// part is one program set or one image of a release: a layer made of one component.
type part struct {
	kind      EntryKind
	component component
	name      string
	version   string
	image     Image // for images
	key       string
}

// cachedFile is a file of the cache and the digest that it was stored with.
type cachedFile struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	file   string
}

// intact reports whether the file still has the content that was stored: it
// becomes part of what is signed.
func (c cachedFile) intact() bool {
	f, err := os.Open(c.file)
	if err != nil {
		return false
	}
	defer f.Close()
	digest, _, err := v1.SHA256(f)
	return err == nil && digest.String() == c.Digest
}

// cachedLayer is the layer of a part.
type cachedLayer struct {
	cachedFile
	Seconds float64 `json:"seconds"` // time of its compilation
}

// layerFormat changes with the content of layers.
const layerFormat = "pai layer v1"

// hashPart gives the part its key: a hash over everything that decides the
// content of its layer.
func (b *builder) hashPart(ctx context.Context, p *part) error {
	g, err := b.goTool(p.component.CGO)
	if err != nil {
		return err
	}
	if err := p.component.checkVersion(ctx, g); err != nil {
		return err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%q\n%v\n%v\n", layerFormat, g.version, p.component.flags(), p.component.CGO, p.component.Programs)
	if p.kind == KindImage {
		fmt.Fprintf(h, "image %q\n", p.image.Program())
		if p.image.Shell {
			shell, err := b.shell()
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "shell %s %q\n", shell.digest, shell.applets)
		}
	}
	made, err := p.component.sources(ctx, g, b.Source)
	if err != nil {
		return err
	}
	for _, m := range made.modules {
		fmt.Fprintf(h, "%s\n", m)
	}
	for _, f := range made.files {
		data, err := os.ReadFile(filepath.Join(b.Source, filepath.FromSlash(f)))
		if err != nil {
			return fmt.Errorf("read source of component %q: %w", p.component.Path, err)
		}
		fmt.Fprintf(h, "%s %s\n", f, digestOf(data))
	}
	p.key = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (b *builder) partsDir() string { return filepath.Join(b.CacheDir, "programs") }

// cached finds the part's layer in the cache. It does not verify the content.
func (b *builder) cached(p part) (cachedLayer, bool) {
	dir := filepath.Join(b.partsDir(), p.key)
	var c cachedLayer
	data, err := os.ReadFile(filepath.Join(dir, "layer.json"))
	if err != nil || json.Unmarshal(data, &c) != nil {
		return c, false
	}
	c.file = filepath.Join(dir, "layer.tar")
	info, err := os.Stat(c.file)
	return c, err == nil && info.Size() == c.Size
}

// layer takes the part's layer from the cache, or builds it and puts it there
// by renaming a directory. A lock makes a second builder wait.
func (b *builder) layer(ctx context.Context, p part, report func(string)) (cachedLayer, error) {
	if c, ok := b.cached(p); ok && c.intact() {
		return c, nil
	}
	dir := filepath.Join(b.partsDir(), p.key)
	unlock, err := filelock.Lock(ctx, filepath.Join(b.partsDir(), "."+p.key+".lock"), func() { report("waiting for another build of this component") })
	if err != nil {
		return cachedLayer{}, err
	}
	defer unlock()
	if c, ok := b.cached(p); ok && c.intact() {
		return c, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return cachedLayer{}, fmt.Errorf("remove damaged layer from cache: %w", err)
	}
	work, err := workDir(b.partsDir(), p.key)
	if err != nil {
		return cachedLayer{}, fmt.Errorf("make directory in cache: %w", err)
	}
	defer os.RemoveAll(work)
	if err := os.Mkdir(filepath.Join(work, "go"), 0o755); err != nil {
		return cachedLayer{}, fmt.Errorf("make directory in cache: %w", err)
	}
	if err := b.makeLayer(ctx, p, work, report); err != nil {
		return cachedLayer{}, err
	}
	if err := os.Rename(work, dir); err != nil {
		return cachedLayer{}, fmt.Errorf("put layer into cache: %w", err)
	}
	c, ok := b.cached(p)
	if !ok {
		return c, fmt.Errorf("layer of %s %s not found in cache %s after its build", p.name, p.version, dir)
	}
	return c, nil
}

// workDir makes a directory to build something in, which becomes the directory of
// that name, and removes those of interrupted builds. Each has a new name, so that
// a compiler that outlives its builder does not write into it.
func workDir(dir, name string) (string, error) {
	if err := removeWork(dir, name); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, "."+name+".new-*")
	if err != nil {
		return "", err
	}
	// MkdirTemp makes directories that only the user can read; the cache is not secret.
	return work, os.Chmod(work, 0o755)
}

// removeWork removes what interrupted builds left.
func removeWork(dir, name string) error {
	left, err := filepath.Glob(filepath.Join(dir, "."+name+".new-*"))
	for _, l := range left {
		err = errors.Join(err, os.RemoveAll(l))
	}
	return err
}

// makeLayer compiles the part's programs and leaves layer.tar and layer.json in work.
func (b *builder) makeLayer(ctx context.Context, p part, work string, report func(string)) error {
	g, err := b.goTool(p.component.CGO)
	if err != nil {
		return err
	}
	start := time.Now()
	built, err := compile(ctx, g, p.component, filepath.Join(work, "go"), report)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	files, dirs, err := b.layerFiles(p, built)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(work, "layer.tar"))
	if err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	d := newDigester(f)
	if err := errors.Join(writeLayer(d, files, dirs), f.Close()); err != nil {
		return err
	}
	data, err := json.Marshal(cachedLayer{cachedFile{Digest: d.digest(), Size: d.size}, seconds})
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(work, "layer.json"), data, 0o644), os.RemoveAll(filepath.Join(work, "go")))
}

// compile runs go build and reports its progress every 15 seconds.
func compile(ctx context.Context, g goTool, c component, out string, report func(string)) (map[string]string, error) {
	var packages atomic.Int64
	report("compiling")
	done, reported := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reported)
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				report(fmt.Sprintf("compiling, %d packages so far", packages.Load()))
			}
		}
	}()
	built, err := g.build(ctx, c, out, func(n int) { packages.Store(int64(n)) })
	close(done)
	<-reported
	return built, err
}
