//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKeys rotates the key that encrypts Secrets under a job, killed after each step and
// once while it waits for the API server, and removes the old key. Each Secret in etcd is
// then encrypted with the new key, and readable, also after a restart of the machine. No
// request of a client fails, and no container is touched.
func TestKeys(t *testing.T) {
	inTestAll(t, "four minutes or more on another cluster")
	o := newOperator(t, "keys")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.submit("test/e2e/testdata/hold.yaml", 2)
	before := o.containersOf("hold")
	o.kubectl("create secret generic probe --from-literal=word=readable")
	if keys := o.encryptionKeys(); len(keys) != 1 || keys[0].Name != "key1" || !keys[0].Encrypts || keys[0].Secrets < 5 {
		t.Fatalf("a new cluster has the keys %+v", keys)
	}
	if got := o.secretPrefixes(); len(got) != 1 || got[0] != "key1" {
		t.Fatalf("etcd has Secrets of the keys %q", got)
	}
	if err := o.refused(3, "cluster", "keys", "remove", "key1", "--yes"); !strings.Contains(err.Error(), "encrypts Secrets") {
		t.Errorf("the key in use is removed, or why not is not said: %v", err)
	}
	key := o.on("pai-1", "sha256sum /etc/pai/encryption.yaml")

	stopClient := o.startClient()
	o.part("a rotation is killed after each step", (*operator).rotationIsKilled)
	keys := o.encryptionKeys()
	if len(keys) != 2 || !keys[0].Encrypts || !strings.HasPrefix(keys[0].Name, "key2-") || keys[1].Name != "key1" || keys[1].Secrets != 0 {
		t.Fatalf("got the keys %+v", keys)
	}
	if got := o.secretPrefixes(); !slices.Equal(got, []string{keys[0].Name}) {
		t.Errorf("etcd has Secrets of the keys %q, want %s alone", got, keys[0].Name)
	}
	if mode := o.on("pai-1", "stat -c '%a %U' /etc/pai/encryption.yaml"); strings.TrimSpace(mode) != "600 root" {
		t.Errorf("the keys have the mode %s", mode)
	}
	op := checkStream(t, o.run(5*time.Minute, "cluster", "keys", "remove", "key1", "--yes", "-o", "json"))
	if keys := o.encryptionKeys(); len(keys) != 1 || !strings.HasPrefix(keys[0].Name, "key2-") {
		t.Errorf("got the keys %+v after the removal", keys)
	}
	if now := o.on("pai-1", "sha256sum /etc/pai/encryption.yaml"); now == key {
		t.Error("the file of the keys is as it was")
	}
	o.secretIsReadable()
	o.part("no request of the client failed", func(o *operator) { stopClient(o.t) })
	if op.Outcome != "succeeded" || len(op.Jobs.Interrupted) > 0 {
		t.Errorf("the operation %s and interrupted %+v", op.Outcome, op.Jobs.Interrupted)
	}
	o.wantContainersOf("hold", before)

	o.run(3*time.Minute, "machine", "restart", "pai-1")
	o.eventually(3*time.Minute, "the API is back", func() (bool, string) {
		out, err := o.tryKubectl("get secret probe -o name")
		return err == nil, fmt.Sprint(out, err)
	})
	o.secretIsReadable()
}

func (o *operator) secretIsReadable() {
	o.t.Helper()
	if word := o.kubectl("get secret probe -o jsonpath={.data.word} | base64 -d"); strings.TrimSpace(word) != "readable" {
		o.t.Errorf("the Secret has the word %q", word)
	}
}

// rotationIsKilled kills the rotation after each of its steps.
func (o *operator) rotationIsKilled() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	for kills := range 6 {
		cmd, said := o.command(ctx, "cluster", "keys", "rotate", "--yes", "-o", "json"), &lockedBuffer{}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			o.t.Fatal(err)
		}
		killed, err := killAfterStep(cmd, said)
		if killed {
			o.secretIsReadable()
			if keys := o.encryptionKeys(); keys[0].Name != "key1" && keys[1].Secrets == 0 {
				return // the last step was done: another rotation would be a new one
			}
			continue
		}
		if err != nil {
			o.t.Fatalf("after %d kills: %v\n%s", kills, err, said)
		}
		return
	}
	o.t.Error("the rotation does not end")
}

type encryptionKey struct {
	Name     string
	Encrypts bool
	Secrets  int
}

func (o *operator) encryptionKeys() []encryptionKey {
	o.t.Helper()
	var keys struct{ Encryption []encryptionKey }
	o.json(&keys, "cluster", "keys")
	return keys.Encryption
}

// secretPrefixes are the names of the keys in the stored values of all Secrets, read from
// etcd, not through paictl.
func (o *operator) secretPrefixes() []string {
	o.t.Helper()
	const etcdctl = "/opt/pai/role/kubelet/bin/etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key --endpoints https://127.0.0.1:2379,https://127.0.0.1:2389 "
	out := o.on("pai-1", `for endpoint in 2379 2389; do `+strings.ReplaceAll(etcdctl, "https://127.0.0.1:2379,https://127.0.0.1:2389", "https://127.0.0.1:$endpoint")+
		`get --prefix /registry/secrets/ --print-value-only 2>/dev/null | grep -a -o '^k8s[^ ]\{0,60\}' | LC_ALL=C sed -n 's/^k8s:enc:secretbox:v1:\([a-z0-9-]*\):.*/\1/p; t; s/.*/none/p'; done | sort -u`)
	return strings.Fields(out)
}
