package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

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

// cachedLayer is what the cache keeps of a part.
type cachedLayer struct {
	Digest  string  `json:"digest"`
	Size    int64   `json:"size"`
	Seconds float64 `json:"seconds"` // what it took to compile
	file    string
}

// layerFormat changes whenever the way that layers are made does.
const layerFormat = "pai layer v1"

// hashPart gives the part its key: a hash over everything that decides what
// its layer holds.
func (b *builder) hashPart(ctx context.Context, p *part) error {
	g, err := b.goTool(ctx, p.component.CGO)
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
			shell, err := b.shell(ctx)
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
			return fmt.Errorf("read source of component %q: %w", p.component.Folder, err)
		}
		fmt.Fprintf(h, "%s %s\n", f, digestOf(data))
	}
	p.key = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (b *builder) cacheFolder() string { return filepath.Join(b.CacheDir, "programs") }

// cached finds the part's layer in the cache; its content is not looked at.
func (b *builder) cached(p part) (cachedLayer, bool) {
	dir := filepath.Join(b.cacheFolder(), p.key)
	var c cachedLayer
	data, err := os.ReadFile(filepath.Join(dir, "layer.json"))
	if err != nil || json.Unmarshal(data, &c) != nil {
		return c, false
	}
	c.file = filepath.Join(dir, "layer.tar")
	info, err := os.Stat(c.file)
	return c, err == nil && info.Size() == c.Size
}

// intact reports whether the layer still has the content that was put into
// the cache: it is about to be signed.
func (c cachedLayer) intact() bool {
	f, err := os.Open(c.file)
	if err != nil {
		return false
	}
	defer f.Close()
	d := newDigester(io.Discard)
	_, err = io.Copy(d, f)
	return err == nil && d.digest() == c.Digest
}

// layer takes the part's layer from the cache, or builds it and puts it
// there. The folder appears by a rename, under a lock: an interrupted build
// leaves nothing that counts, and of two builders one waits for the other.
func (b *builder) layer(ctx context.Context, p part, say func(string)) (cachedLayer, error) {
	if c, ok := b.cached(p); ok && c.intact() {
		return c, nil
	}
	dir := filepath.Join(b.cacheFolder(), p.key)
	unlock, err := filelock.Lock(ctx, filepath.Join(b.cacheFolder(), "."+p.key+".lock"), func() { say("waiting for another build of it") })
	if err != nil {
		return cachedLayer{}, err
	}
	defer unlock()
	if c, ok := b.cached(p); ok && c.intact() {
		return c, nil
	}
	work, err := b.workFolder(p.key)
	if err != nil {
		return cachedLayer{}, fmt.Errorf("make room in cache: %w", err)
	}
	defer os.RemoveAll(work)
	if err := b.makeLayer(ctx, p, work, say); err != nil {
		return cachedLayer{}, err
	}
	if err := os.Rename(work, dir); err != nil {
		return cachedLayer{}, fmt.Errorf("put layer into cache: %w", err)
	}
	c, ok := b.cached(p)
	if !ok {
		return c, fmt.Errorf("the layer of %s %s was built but is not in the cache %s", p.name, p.version, dir)
	}
	return c, nil
}

// workFolder makes a folder to build in, and removes what interrupted builds
// left. It has a new name each time: a compiler that outlived its builder
// then writes to nowhere.
func (b *builder) workFolder(key string) (string, error) {
	old, err := filepath.Glob(filepath.Join(b.cacheFolder(), "."+key+".new-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range append(old, filepath.Join(b.cacheFolder(), key)) {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	work, err := os.MkdirTemp(b.cacheFolder(), "."+key+".new-*")
	if err != nil {
		return "", err
	}
	// MkdirTemp's folders are the user's alone; the cache is not secret.
	return work, errors.Join(os.Chmod(work, 0o755), os.Mkdir(filepath.Join(work, "go"), 0o755))
}

// makeLayer compiles the part's programs and leaves layer.tar and layer.json in work.
func (b *builder) makeLayer(ctx context.Context, p part, work string, say func(string)) error {
	g, err := b.goTool(ctx, p.component.CGO)
	if err != nil {
		return err
	}
	start := time.Now()
	built, err := compile(ctx, g, p.component, filepath.Join(work, "go"), say)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	files, dirs, err := b.layerFiles(ctx, p, built)
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
	data, err := json.Marshal(cachedLayer{Digest: d.digest(), Size: d.size, Seconds: seconds})
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(work, "layer.json"), data, 0o644), os.RemoveAll(filepath.Join(work, "go")))
}

// quiet is how long a compilation says nothing about how far it is.
const quiet = 15 * time.Second

// compile runs go build, and says now and then how far it is.
func compile(ctx context.Context, g goTool, c component, out string, say func(string)) (map[string]string, error) {
	var packages atomic.Int64
	say("compiling")
	done, said := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(said)
		tick := time.NewTicker(quiet)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				say(fmt.Sprintf("compiling, %d packages so far", packages.Load()))
			}
		}
	}()
	built, err := g.build(ctx, c, out, func(n int) { packages.Store(int64(n)) })
	close(done)
	<-said
	return built, err
}

// layerFiles lists what the part's layer holds, from where its programs were built.
func (b *builder) layerFiles(ctx context.Context, p part, built map[string]string) ([]layerFile, map[string]int64, error) {
	var files []layerFile
	if p.kind == KindProgram {
		for _, name := range sortedKeys(built) {
			files = append(files, layerFile{Name: name, Source: built[name], Mode: 0o755})
		}
		return files, nil, nil
	}
	for _, source := range built {
		files = append(files, layerFile{Name: strings.TrimPrefix(p.image.Program(), "/"), Source: source, Mode: 0o755})
	}
	dirs := map[string]int64{"tmp": 0o1777}
	if p.image.Shell {
		shell, err := b.shell(ctx)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, layerFile{Name: "bin/busybox", Source: shell.file, Mode: 0o755})
		for _, applet := range shell.applets {
			if name := path.Join("bin", applet); name != files[0].Name {
				files = append(files, layerFile{Name: name, Link: "busybox"})
			}
		}
	}
	return files, dirs, nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
