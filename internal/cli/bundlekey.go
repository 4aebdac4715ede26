package cli

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

func signingKey(env *Env, file string) (ed25519.PrivateKey, error) {
	if file == "" {
		return release.EnsureKey(release.KeyFile(env.StateDir))
	}
	key, err := release.LoadKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &pai.Error{Code: pai.CodeUsage, Next: "omit --key to sign with the operator key, which is created if it is missing", Err: err}
	}
	return key, err
}

// openBundle opens the bundle of a release in the cache, or the one in a
// directory or an archive.
func openBundle(env *Env, what, key string) (string, *release.Bundle, error) {
	trusted, err := publicKey(env, key)
	if err != nil {
		return "", nil, err
	}
	dir := what
	if err := pai.CheckVersion(what); err == nil {
		dir = release.BundleDir(env.CacheDir, pai.Canonical(what))
	}
	b, err := release.OpenAny(dir, []ed25519.PublicKey{trusted})
	if errors.Is(err, fs.ErrNotExist) {
		next := "build the bundle, run: paictl release build " + what + "; or import one, run: paictl release import"
		if dir == what {
			next = "name a release, or the archive or directory of a bundle"
		}
		return "", nil, pai.Errorf(pai.CodeNotFound, next, "no bundle found in %s", dir)
	}
	return dir, b, err
}

// publicKey is the key that --key names, or the key of the operator.
func publicKey(env *Env, given string) (ed25519.PublicKey, error) {
	if given == "" {
		key, err := release.LoadKey(release.KeyFile(env.StateDir))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, pai.Errorf(pai.CodeUsage, "pass the public key of the signer of the bundle with --key", "no key to trust: this host has no operator key")
		}
		if err != nil {
			return nil, err
		}
		return key.Public().(ed25519.PublicKey), nil
	}
	if data, err := os.ReadFile(given); err == nil {
		given = strings.TrimSpace(string(data))
	}
	key, err := release.DecodePublicKey(given)
	if err != nil {
		return nil, &pai.Error{Code: pai.CodeUsage, Next: "pass the public key in base64, or the file that contains it (bundle.key.pub)", Message: "--key", Err: err}
	}
	return key, nil
}
