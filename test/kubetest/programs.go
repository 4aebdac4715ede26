package kubetest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/atomicfile"
)

// ProgramsVariable names a directory with etcd, etcdctl, etcdutl,
// kube-apiserver, and kube-controller-manager. Without it, they come from the programs that were
// built for bundles, in the cache directory.
const ProgramsVariable = "PAI_TEST_PROGRAMS"

// CacheDir returns the directory with what was built: PAI_CACHE_DIR, or the
// default of paictl.
func CacheDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("PAI_CACHE_DIR"); dir != "" {
		return dir
	}
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(user, "pai")
}

// Programs returns a directory with programs of the control plane.
func Programs(t testing.TB, names ...string) string {
	t.Helper()
	if dir := os.Getenv(ProgramsVariable); dir != "" {
		return dir
	}
	layers, err := newestFirst(filepath.Join(CacheDir(t), "programs", "*", "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	missing := names
	for _, layer := range layers {
		if missing, err = extract(layer, dir, missing); err != nil {
			t.Fatal(err)
		}
		if len(missing) == 0 {
			return dir
		}
	}
	t.Fatalf("no %s among the %d layers in %s: build a bundle first, or set %s",
		strings.Join(missing, ", "), len(layers), CacheDir(t), ProgramsVariable)
	return ""
}

// Etcd returns a directory with the etcd of a minor version, such as "3.6", of the
// programs that were built for bundles.
func Etcd(t testing.TB, minor string) string {
	t.Helper()
	return versioned(t, "etcd", "etcd Version: "+minor+".")
}

// Kubernetes returns a directory with a program of Kubernetes of a minor version, such as
// "1.36", of the programs that were built for bundles.
func Kubernetes(t testing.TB, program, minor string) string {
	t.Helper()
	return versioned(t, program, "Kubernetes v"+minor+".")
}

// versioned returns a directory with the newest program that reports the version.
func versioned(t testing.TB, program, version string) string {
	t.Helper()
	layers, err := newestFirst(filepath.Join(CacheDir(t), "programs", "*", "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		dir := t.TempDir()
		missing, err := extract(layer, dir, []string{program})
		if err != nil {
			t.Fatal(err)
		}
		if len(missing) > 0 {
			continue
		}
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, program), "--version").CombinedOutput()
		if err != nil {
			t.Fatalf("%s of %s: %v\n%s", program, layer, err, out)
		}
		if strings.Contains(string(out), version) {
			return dir
		}
	}
	t.Fatalf("no %s with %q among the %d layers in %s: build the bundle of a release with it first", program, version, len(layers), CacheDir(t))
	return ""
}

func newestFirst(pattern string) ([]string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	age := map[string]int64{}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return nil, err
		}
		age[f] = -info.ModTime().UnixNano()
	}
	slices.SortFunc(files, func(a, b string) int { return int(max(-1, min(1, age[a]-age[b]))) })
	return files, nil
}

// extract takes the wanted programs out of bin/ of a layer and returns those
// that it does not have.
func extract(layer, dir string, wanted []string) ([]string, error) {
	file, err := os.Open(layer)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	left := slices.Clone(wanted)
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return left, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", layer, err)
		}
		i := slices.Index(left, path.Base(header.Name))
		if i < 0 || header.Typeflag != tar.TypeReg || path.Base(path.Dir(header.Name)) != "bin" {
			continue
		}
		if err := save(filepath.Join(dir, left[i]), archive); err != nil {
			return nil, err
		}
		left = slices.Delete(left, i, i+1)
	}
}

func save(file string, content io.Reader) error {
	return atomicfile.WithoutForks(func() error {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Close())
	})
}
