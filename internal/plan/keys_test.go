package plan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

const today = "20261130"

func keySteps(p Plan) string {
	var steps []string
	for _, s := range p.Steps {
		steps = append(steps, strings.TrimPrefix(string(s.ID), "keys/"))
	}
	return strings.Join(steps, " ")
}

func TestRotationOfKeysIsPlanned(t *testing.T) {
	t.Parallel()
	w := World{Current: pai.Pair{Kubernetes: "v0.11-pai"}}
	for name, c := range map[string]struct {
		keys Keys
		want string
	}{
		"the first rotation":           {Keys{[]string{"key1"}, map[string]int{"key1": 9}}, "key2-20261130/add key2-20261130/use key2-20261130/encrypt"},
		"killed after the key is made": {Keys{[]string{"key1", "key2-20261129"}, map[string]int{"key1": 9}}, "key2-20261129/use key2-20261129/encrypt"},
		"killed while Secrets are encrypted": {Keys{[]string{"key2-20261129", "key1"}, map[string]int{"key1": 4, "key2-20261129": 5}},
			"key2-20261129/encrypt"},
		"after a restore of older data": {Keys{[]string{"key2-20261129", "key1"}, map[string]int{"key1": 9}}, "key2-20261129/encrypt"},
		"Secrets without encryption":    {Keys{[]string{"key2-20261129", "key1"}, map[string]int{"key2-20261129": 9, "": 1}}, "key2-20261129/encrypt"},
		"the second rotation": {Keys{[]string{"key2-20261129", "key1"}, map[string]int{"key2-20261129": 9}},
			"key3-20261130/add key3-20261130/use key3-20261130/encrypt"},
		"killed in the second rotation": {Keys{[]string{"key2-20261129", "key1", "key3-20261130"}, map[string]int{"key2-20261129": 9}},
			"key3-20261130/use key3-20261130/encrypt"},
		"the tenth": {Keys{[]string{"key9-20261129", "key1"}, map[string]int{"key9-20261129": 9}}, "key10-20261130/add key10-20261130/use key10-20261130/encrypt"},
	} {
		p, err := RotateKey(w, c.keys, today)
		if err != nil || keySteps(p) != c.want {
			t.Errorf("%s: got %s, %v, want %s", name, keySteps(p), err, c.want)
		}
	}
}

// However often a rotation is interrupted, the same one is continued: it adds one key, it
// encrypts with a key only in a step after that which adds it, and it ends.
func TestRotationContinues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := World{Current: pai.Pair{Kubernetes: "v0.11-pai"}}
		keys, done := Keys{Names: []string{"key1"}, Secrets: map[string]int{"key1": rapid.IntRange(1, 5).Draw(rt, "secrets")}}, 0
		for {
			p, err := RotateKey(w, keys, today)
			if err != nil || done > 3 {
				rt.Fatalf("after %d steps: %+v, %v", done, keys, err)
			}
			for _, s := range p.Steps[:rapid.IntRange(0, len(p.Steps)).Draw(rt, "until the kill")] {
				done++
				if s.Kind == KindKeyAdd {
					keys.Names = append(keys.Names, s.Target)
				}
				if s.Kind == KindKeyUse {
					keys.Names = []string{s.Target, "key1"}
				}
				if s.Kind == KindKeyEncrypt {
					keys.Secrets = map[string]int{s.Target: keys.Secrets["key1"]}
					if len(keys.Names) != 2 || keys.Names[0] != s.Target || done != 3 && keys.Secrets[s.Target] > 0 {
						rt.Fatalf("got %+v after %d steps", keys, done)
					}
					return
				}
			}
		}
	})
}

func TestChangesOfKeysAreRefused(t *testing.T) {
	t.Parallel()
	full := Keys{Secrets: map[string]int{"key20": 1}}
	for n := 20; n > 0; n-- {
		full.Names = append(full.Names, "key"+string(rune('0'+n/10))+string(rune('0'+n%10)))
	}
	full.Names[0] = "key20"
	two := Keys{[]string{"key2-20261129", "key1"}, map[string]int{"key1": 4, "key2-20261129": 5}}
	running := World{Current: pai.Pair{Kubernetes: "v0.11-pai"}}
	between := World{Current: pai.Pair{Kubernetes: "v0.11-pai"}, Machines: []MachineState{{Name: "cp", ControlPlane: true,
		Roles: map[Role]RoleState{RoleKubelet: {Link: "v0.12-pai", Running: "v0.12-pai"}}}}}
	for name, c := range map[string]struct {
		w      World
		keys   Keys
		remove string
		want   string
	}{
		"no cluster":              {World{}, two, "", "there is no cluster"},
		"an older API server":     {World{Current: pai.Pair{Kubernetes: "v0.10-pai"}}, two, "", "does not read a changed encryption configuration"},
		"between two versions":    {between, two, "", "between two versions"},
		"no key":                  {running, Keys{}, "", "has no encryption key"},
		"too many keys":           {running, full, "", "there are 20 encryption keys already"},
		"the key that encrypts":   {running, two, "key2-20261129", "encrypts Secrets"},
		"a key that Secrets need": {running, two, "key1", "4 Secrets in etcd can be read only with the key key1"},
		"an unknown key":          {running, two, "key7", `no encryption key "key7"`},
	} {
		_, err := RotateKey(c.w, c.keys, today)
		if c.remove != "" {
			_, err = RemoveKey(c.w, c.keys, c.remove)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	two.Secrets["key1"] = 0
	if p, err := RemoveKey(running, two, "key1"); err != nil || keySteps(p) != "key1/remove" {
		t.Errorf("got %s, %v", keySteps(p), err)
	}
}
