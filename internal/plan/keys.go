package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Keys are the keys that encrypt Secrets.
type Keys struct {
	// Names are in the order of the file: the first one encrypts.
	Names []string
	// Secrets is how many Secrets each key encrypts; "" counts those that are not encrypted.
	Secrets map[string]int
}

// EncryptsAll reports whether a key encrypts every Secret. secrets is as in Keys.
func EncryptsAll(name string, secrets map[string]int) bool {
	for key, n := range secrets {
		if key != name && n > 0 {
			return false
		}
	}
	return true
}

// newest is the key of the latest rotation.
func (k Keys) newest() string {
	return slices.MaxFunc(k.Names, func(a, b string) int { return layout.KeyNumber(a) - layout.KeyNumber(b) })
}

// unfinished reports whether the latest rotation was interrupted.
func (k Keys) unfinished() bool {
	return k.newest() != k.Names[0] || !EncryptsAll(k.newest(), k.Secrets)
}

// firstWithKeyRotation is the first version whose API server reads a changed encryption
// configuration without a restart.
const firstWithKeyRotation = pai.KubernetesVersion("v0.11-pai")

// checkKeys refuses a change of the keys that the cluster cannot make now.
func checkKeys(w World, k Keys) error {
	if err := w.refuseSeveral("a change of the keys that encrypt Secrets", "keep the keys until a newer release can change them"); err != nil {
		return err
	}
	switch {
	case w.Current.Kubernetes == "":
		return pai.Errorf(pai.CodeRefused, "boot the cluster first; run: paictl cluster k8s-bootup", "there is no cluster")
	case w.Current.Kubernetes.Less(firstWithKeyRotation):
		return pai.Errorf(pai.CodeRefused, "upgrade Kubernetes first; run: paictl upgrade plan",
			"the API server of %s does not read a changed encryption configuration while it runs", w.Current.Kubernetes)
	case w.Current.Kubernetes.Less(newestKubernetes(w.Active(""))):
		return pai.Errorf(pai.CodeRefused, "finish the upgrade or roll it back first; run: paictl upgrade status", "Kubernetes is between two versions")
	case len(k.Names) == 0:
		return pai.Errorf(pai.CodeFailed, "", "the control-plane machine has no encryption key")
	}
	return nil
}

// RotateKey plans the rotation of the key that encrypts Secrets: every API server can
// decrypt with the new key before one encrypts with it, and then every Secret is stored
// again. A rotation that was interrupted is continued. day is
// that of a new key, such as 20261129.
func RotateKey(w World, k Keys, day string) (Plan, error) {
	if err := checkKeys(w, k); err != nil {
		return Plan{}, err
	}
	name := k.newest()
	if !k.unfinished() {
		name = fmt.Sprintf("key%d-%s", layout.KeyNumber(name)+1, day)
	}
	if !slices.Contains(k.Names, name) && len(k.Names) >= layout.MaxEncryptionKeys {
		return Plan{}, pai.Errorf(pai.CodeRefused, "remove the oldest one; run: paictl cluster keys remove "+k.Names[len(k.Names)-1],
			"there are %d encryption keys already", len(k.Names))
	}
	g := stepGraph{phase: "keys"}
	step := func(what string, kind Kind, needed bool, after ...StepID) StepID {
		return g.add(needed, Step{ID: StepID("keys/" + name + "/" + what), Kind: kind, Target: name, To: pai.AnyVersion(w.Current.Kubernetes), Risk: pai.RiskAPI}, after...)
	}
	added := step("add", KindKeyAdd, !slices.Contains(k.Names, name))
	used := step("use", KindKeyUse, k.Names[0] != name, added)
	step("encrypt", KindKeyEncrypt, !EncryptsAll(name, k.Secrets) || k.Names[0] != name, used)
	p := Plan{Verb: pai.VerbRotateKey, From: w.Current, To: w.Current, Hops: []Hop{}, Steps: g.reduce()}
	p.Notes = append(p.Notes, "the older keys stay and decrypt what snapshots on the control-plane machine have; to remove one, run: paictl cluster keys remove KEY")
	return p, p.Validate()
}

// RemoveKey plans the removal of a key that encrypts no Secret.
func RemoveKey(w World, k Keys, name string) (Plan, error) {
	if err := checkKeys(w, k); err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbRemoveKey, From: w.Current, To: w.Current, Hops: []Hop{}, Steps: []Step{}}
	switch {
	case !slices.Contains(k.Names, name):
		return Plan{}, pai.Errorf(pai.CodeNotFound, "list the keys; run: paictl cluster keys", "there is no encryption key %q", name)
	case k.Names[0] == name:
		return Plan{}, pai.Errorf(pai.CodeRefused, "use another key first; run: paictl cluster keys rotate", "the key %s encrypts Secrets", name)
	case k.Secrets[name] > 0:
		return Plan{}, pai.Errorf(pai.CodeRefused, "encrypt them with the newest key; run: paictl cluster keys rotate",
			"%d Secrets in etcd can be read only with the key %s", k.Secrets[name], name)
	}
	p.Steps = append(p.Steps, Step{ID: StepID("keys/" + name + "/remove"), Kind: KindKeyRemove, Target: name, To: pai.AnyVersion(w.Current.Kubernetes), Phase: "keys", Risk: pai.RiskAPI})
	p.Notes = append(p.Notes, fmt.Sprintf("snapshots on the control-plane machine from before the rotation cannot be restored without %s; each backup has its own keys", name))
	return p, p.Validate()
}
