package release

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
)

// BuildOptions are the arguments of Build.
type BuildOptions struct {
	Source   string // source tree of PAI
	CacheDir string // directory of programs and bundles
	Release  string // "v0.10"
	Key      ed25519.PrivateKey
	KeyFile  string // file of Key; the build of a frozen release needs it
	Progress func(format string, args ...any)
}

// Built is the result of Build.
type Built struct {
	Dir    string // the bundle
	Paictl string // the paictl that built a frozen release; empty for others
}

type builder struct {
	BuildOptions
	start             time.Time
	cgoTool, pureTool func() (goTool, error)
	shell             func() (shell, error)
}

// Build makes the bundle of a release. It compiles only components that the
// cache does not have. A bundle of the same inputs stays; Build only adds the
// signature of the key. A frozen release is built by the paictl of its commit.
func Build(ctx context.Context, o BuildOptions) (Built, error) {
	b := &builder{
		BuildOptions: o, start: time.Now(),
		cgoTool:  sync.OnceValues(func() (goTool, error) { return newGoTool(ctx, true) }),
		pureTool: sync.OnceValues(func() (goTool, error) { return newGoTool(ctx, false) }),
		shell:    sync.OnceValues(func() (shell, error) { return findShell(ctx, o.CacheDir) }),
	}
	if err := b.absolute(); err != nil {
		return Built{}, err
	}
	m, raw, err := b.manifest()
	if err != nil {
		return Built{}, err
	}
	if m.Frozen() {
		return b.buildFrozen(ctx, m)
	}
	dir, err := b.buildBundle(ctx, m, raw)
	return Built{Dir: dir}, err
}

// absolute makes the paths absolute: commands run in other directories.
func (b *builder) absolute() (err error) {
	for _, dir := range []*string{&b.Source, &b.CacheDir, &b.KeyFile} {
		if *dir == "" {
			continue
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return fmt.Errorf("find the absolute path of %q: %w", *dir, err)
		}
	}
	return nil
}

// buildBundle makes the bundle of a release from the source tree and returns its
// directory.
func (b *builder) buildBundle(ctx context.Context, m Manifest, raw []byte) (string, error) {
	if err := b.checkLabels(m); err != nil {
		return "", err
	}
	o := b.BuildOptions
	dir := BundleDir(o.CacheDir, o.Release)
	unlock, err := lockBundle(ctx, dir, o.Progress)
	if err != nil {
		return "", err
	}
	defer unlock()

	parts, err := b.parts(ctx, m)
	if err != nil {
		return "", err
	}
	files, err := b.serviceFiles(ctx, m)
	if err != nil {
		return "", err
	}
	services, err := zipFiles(files)
	if err != nil {
		return "", err
	}
	notes, err := notesToBuild(os.DirFS(filepath.Join(b.Source, "releases")), m)
	if err != nil {
		return "", err
	}
	c := content{manifest: raw, notes: notes, services: services}
	inputs := hashInputs(parts, c)
	if b.upToDate(ctx, dir, inputs) {
		return dir, b.ensureSigned(dir)
	}
	layers, err := b.layers(ctx, parts)
	if err != nil {
		return "", err
	}
	if err := b.write(dir, inputs, c, parts, layers); err != nil {
		return "", err
	}
	return dir, b.reportOutdated(ctx, dir)
}

// manifest reads the release's manifest from the source tree.
func (b *builder) manifest() (Manifest, []byte, error) {
	if err := pai.CheckVersion(b.Release); err != nil {
		return Manifest{}, nil, &pai.Error{Code: pai.CodeUsage, Next: "list the releases; run: paictl release list", Err: err}
	}
	file := path.Join("releases", b.Release, ManifestFile)
	m, raw, err := loadOne(os.DirFS(b.Source), file)
	if err == nil {
		err = m.checkContent()
	}
	if errors.Is(err, os.ErrNotExist) {
		return m, nil, pai.Errorf(pai.CodeNotFound, "name PAI's source tree with --source, and a release in it",
			"%s not found in %s", file, b.Source)
	}
	if err != nil {
		return m, nil, &pai.Error{Code: pai.CodeInvalid, Err: err}
	}
	return m, raw, nil
}

func (b *builder) goTool(cgo bool) (goTool, error) {
	if cgo {
		return b.cgoTool()
	}
	return b.pureTool()
}

// parts lists everything of the release that is compiled, with its key. The
// error has the problems of all parts.
func (b *builder) parts(ctx context.Context, m Manifest) ([]part, error) {
	var parts []part
	var problems []error
	add := func(p part, dir string) {
		c, err := loadComponent(b.Source, dir, p.name, p.version)
		p.component = c
		if err == nil && p.kind == KindImage && len(c.Programs) != 1 {
			err = fmt.Errorf("an image has one program, but component %q has %d", dir, len(c.Programs))
		}
		if err == nil {
			err = b.hashPart(ctx, &p)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s %s %s: %w", p.kind, p.name, p.version, err))
		}
		parts = append(parts, p)
	}
	for _, p := range m.Programs {
		add(part{kind: KindProgram, name: p.Name, version: p.Version}, p.Component)
	}
	for _, i := range m.Images {
		add(part{kind: KindImage, name: i.Name, version: i.Version, image: i}, i.Component)
	}
	return parts, errors.Join(problems...)
}

// layers builds the layers that the cache does not have, one at a time: each
// compiles on all cores.
func (b *builder) layers(ctx context.Context, parts []part) ([]cachedLayer, error) {
	missing := 0
	for _, p := range parts {
		if _, ok := b.cached(p); !ok {
			missing++
		}
	}
	if missing > 0 {
		b.Progress("release %s: %d of %d components are in the cache, %d to compile", b.Release, len(parts)-missing, len(parts), missing)
	}
	var layers []cachedLayer
	done := 0
	for _, p := range parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, ok := b.cached(p); !ok {
			done++
		}
		report := func(what string) {
			b.Progress("release %s: %d of %d, %s: %s %s: %s", b.Release, done, missing, time.Since(b.start).Round(time.Second), p.name, p.version, what)
		}
		layer, err := b.layer(ctx, p, report)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// write makes the bundle beside its place and then moves it there.
func (b *builder) write(dir, inputs string, c content, parts []part, layers []cachedLayer) error {
	var digest string
	err := replaceBundle(dir, func(work string) (err error) {
		if digest, err = writeBundle(work, c, parts, layers); err != nil {
			return err
		}
		return sign(work, digest, b.Key)
	})
	if err != nil {
		return fmt.Errorf("write bundle of release %s: %w", b.Release, err)
	}
	b.Progress("release %s: bundle %s in %s", b.Release, digest, time.Since(b.start).Round(time.Second))
	return os.WriteFile(b.inputsFile(), []byte(inputs+" "+digest+"\n"), 0o644)
}

// inputsFormat changes with the way in which bundles are made of their inputs.
const inputsFormat = "pai bundle v2"

func hashInputs(parts []part, c content) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", inputsFormat, digestOf(c.manifest), digestOf(c.services))
	if c.notes != nil {
		fmt.Fprintf(h, "notes %s\n", digestOf(c.notes))
	}
	for _, p := range parts {
		fmt.Fprintf(h, "%s %s\n", p.name, p.key)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (b *builder) inputsFile() string {
	return filepath.Join(b.CacheDir, "bundles", "."+b.Release+".inputs")
}

// upToDate reports whether the bundle in dir has these inputs and verifies,
// with the signature of any key.
func (b *builder) upToDate(ctx context.Context, dir, inputs string) bool {
	recorded, err := os.ReadFile(b.inputsFile())
	if err != nil {
		return false
	}
	bundle, index, err := openUnverified(dir)
	if err != nil || strings.TrimSpace(string(recorded)) != inputs+" "+bundle.Digest() {
		return false
	}
	return bundle.readIndex(index) == nil && bundle.Verify(ctx) == nil
}

// ensureSigned adds the builder's signature to the bundle unless it has it.
func (b *builder) ensureSigned(dir string) error {
	if _, err := Open(dir, []ed25519.PublicKey{b.Key.Public().(ed25519.PublicKey)}); err == nil {
		return nil
	}
	bundle, _, err := openUnverified(dir)
	if err != nil {
		return err
	}
	return sign(dir, bundle.Digest(), b.Key)
}
