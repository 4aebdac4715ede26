package keyring

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/layout"
)

// ofBoot is what a boot of PAI writes, with another key.
const ofBoot = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
  - identity: {}
`

func parse(t testing.TB, text string) Ring {
	t.Helper()
	r, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The keys are as a slow list of names has them, whatever happens to them, and a ring that
// is written and read again is the same. Each key has other bytes, which it keeps.
func TestRingProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r, names, secrets := parse(t, ofBoot), []string{"key1"}, map[string]string{}
		for range rapid.IntRange(0, 40).Draw(rt, "changes") {
			name := "key" + rapid.StringMatching(`[1-9][0-9]?`).Draw(rt, "number")
			at := slices.Index(names, name)
			var err error
			before := r
			switch rapid.SampledFrom([]string{"add", "use", "remove"}).Draw(rt, "change") {
			case "add":
				r, err = r.Add(name)
				if full := at < 0 && len(names) >= layout.MaxEncryptionKeys; full != (err != nil) {
					rt.Fatalf("add %s to %v: %v", name, names, err)
				} else if at < 0 && !full {
					names = append(names, name)
				}
			case "use":
				r, err = r.Use(name)
				if (at < 0) != (err != nil) {
					rt.Fatalf("use %s of %v: %v", name, names, err)
				}
				if at >= 0 {
					names = slices.Concat([]string{name}, names[:at], names[at+1:])
				}
			case "remove":
				r, err = r.Remove(name)
				if (at == 0) != (err != nil) {
					rt.Fatalf("remove %s of %v: %v", name, names, err)
				}
				if at > 0 {
					names = slices.Concat(names[:at], names[at+1:])
					delete(secrets, name)
				}
			}
			if err != nil && !r.Equal(before) {
				rt.Fatalf("a refused change changed %v to %v", before.Names(), r.Names())
			}
			data, err := r.Marshal()
			if err != nil {
				rt.Fatal(err)
			}
			again, err := Parse(data)
			if err != nil || !again.Equal(r) || !slices.Equal(again.Names(), names) {
				rt.Fatalf("got %v, %v, want %v", again.Names(), err, names)
			}
			seen := map[string]bool{}
			for _, k := range again.keys() {
				if was := secrets[k.Name]; was != "" && was != k.Secret || seen[k.Secret] {
					rt.Fatalf("the key %s changed, or is that of another one", k.Name)
				}
				secrets[k.Name], seen[k.Secret] = k.Secret, true
			}
		}
	})
}

// What PAI did not write is refused, and no message has a key.
func TestOtherConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	secret := "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	for name, text := range map[string]string{
		"other resources": strings.Replace(ofBoot, "[secrets]", "[secrets, configmaps]", 1),
		"more resources":  ofBoot + "- resources: [configmaps]\n  providers:\n  - identity: {}\n",
		"aescbc":          strings.Replace(ofBoot, "secretbox", "aescbc", 1),
		"identity first":  strings.Replace(ofBoot, "  providers:\n", "  providers:\n  - identity: {}\n", 1),
		"short key":       strings.Replace(ofBoot, secret, "MDEy", 1),
		"no key":          ofBoot[:strings.Index(ofBoot, "      - name")] + "  - identity: {}\n",
		"unknown field":   ofBoot + "more: " + secret + "\n",
		"not YAML":        secret + ": [",
		"empty":           "",
	} {
		if r, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, %v", name, r.config.Resources, err)
		}
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	// sha256sum of the text, as k8s.io/apiserver has it.
	if got := Digest([]byte("a")); got != "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" {
		t.Errorf("got %s", got)
	}
}
