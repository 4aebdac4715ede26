package release_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing/fstest"

	"pai.dev/pai/internal/release"
)

// exampleKey is the public key that signed the bundle in testdata.
func exampleKey() ed25519.PublicKey {
	seed := []byte(strings.Repeat("k", ed25519.SeedSize))
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// A bundle opens only with a key that signed it. Verify reads all of it.
func ExampleOpen() {
	b, err := release.Open("testdata/bundle-c82e023", []ed25519.PublicKey{exampleKey()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range b.Contents() {
		fmt.Println(e.Kind, e.Name)
	}
	fmt.Println("verify:", b.Verify(context.Background()))

	_, err = release.Open("testdata/bundle-c82e023", nil)
	fmt.Println(strings.HasPrefix(err.Error(), "bundle testdata/bundle-c82e023 is refused: signed by the untrusted key"))
	// Output:
	// release v0.1
	// program pair
	// program same
	// services services
	// image tool
	// image twin
	// verify: <nil>
	// true
}

// The services of a bundle are a file system, and its images an OCI archive.
func ExampleBundle_Services() {
	b, err := release.Open("testdata/bundle-c82e023", []ed25519.PublicKey{exampleKey()})
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := fs.ReadFile(b.Services(), "web/service.yaml")
	fmt.Printf("%s%v\n", data, err)
	fmt.Println(b.Image("tool"), b.WriteImages(context.Background(), io.Discard, "tool"))
	// Output:
	// name: web
	// <nil>
	// pai.local/tool:v0.1 <nil>
}

// Load reads the manifests of all releases. Rows is the support plan.
func ExampleLoad() {
	manifests, err := release.Load(fstest.MapFS{"v0.9/release.yaml": {Data: []byte(good)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range release.Rows(manifests) {
		fmt.Println(row.Release, row.Kubernetes.Version, row.Kubernetes.Upstream)
	}
	// Output:
	// v0.9 v0.9-pai v1.35.4
}
