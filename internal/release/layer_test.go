package release

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A layer depends on what is in it, not on the order in which it was listed
// nor on the files' times.
func TestLayerDependsOnContentOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c](/[a-c]{1,3}){1,3}\.f`), 1, 8, rapid.ID[string]).Draw(t, "names")
		var files []layerFile
		for i, n := range names {
			source := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(source, []byte(rapid.StringN(0, 50, -1).Draw(t, "content")), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, layerFile{Name: n, Source: source, Mode: 0o755})
		}
		write := func(files []layerFile) []byte {
			var out bytes.Buffer
			if err := writeLayer(&out, files, map[string]int64{"tmp": 0o1777}); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
		first := write(files)
		shuffled := slices.Clone(files)
		seed := rapid.Uint64().Draw(t, "order")
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, f := range files { // as another build would have made them
			data, err := os.ReadFile(f.Source)
			if err != nil {
				t.Fatal(err)
			}
			os.Remove(f.Source)
			if err := os.WriteFile(f.Source, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first, write(shuffled)) {
			t.Fatal("the same files in another order gave another layer")
		}
	})
}

func TestProgramName(t *testing.T) {
	t.Parallel()
	for pkg, want := range map[string]string{
		"k8s.io/kubernetes/cmd/kubelet": "kubelet",
		"go.etcd.io/etcd/server/v3":     "server",
		"example.test/x/v12":            "x",
		"example.test/x/v1":             "v1", // v0 and v1 are no suffix to Go
		"example.test/visor":            "visor",
	} {
		if got := programName(pkg); got != want {
			t.Errorf("%s: %s, want %s", pkg, got, want)
		}
	}
}

func TestBuildEnvKeepsNothingThatChangesABuild(t *testing.T) {
	t.Parallel()
	env := buildEnv([]string{"PATH=/bin", "GOFLAGS=-mod=mod", "GOWORK=/w", "GONOSUMDB=*", "GOPROXY=https://proxy.example", "CGO_ENABLED=1", "GOAMD64=v3"}, false)
	for _, want := range []string{"PATH=/bin", "GOPROXY=https://proxy.example", "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0", "GOAMD64=v1"} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s: %v", want, env)
		}
	}
	for _, bad := range []string{"GOFLAGS=-mod=mod", "GONOSUMDB=*", "CGO_ENABLED=1", "GOAMD64=v3"} {
		if slices.Contains(env, bad) {
			t.Errorf("the environment has %s: %v", bad, env)
		}
	}
}
