package cluster

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

const (
	// reloadTimeout is how long the API server can take to use a changed encryption
	// configuration. It looks for changes every minute
	// (k8s.io/apiserver, EncryptionConfigFileChangePollDuration).
	reloadTimeout = 3 * time.Minute
	reloadPoll    = 2 * time.Second
)

// ReadKeys returns the keys that encrypt Secrets, of the control-plane machine, and the
// number of Secrets that each one encrypts; "" counts those that are not encrypted.
func ReadKeys(ctx context.Context, h machine.Host) (inspect.Keys, map[string]int, error) {
	report, err := helper.Parts(ctx, h, inspect.Keyring)
	if err != nil {
		return inspect.Keys{}, nil, err
	}
	secrets, err := etcd.SecretsByKey(ctx, h)
	return *report.Keyring, secrets, err
}

// keyChanger changes the encryption configuration on the control-plane machine. The step
// is done when the API server uses the changed one, so that the next step builds on it.
type keyChanger struct {
	*cluster
	action inspect.KeyAction
}

func (k keyChanger) Done(ctx context.Context, s plan.Step) (bool, error) {
	h, _, err := k.controlPlane()
	if err != nil {
		return false, err
	}
	report, err := helper.Parts(ctx, h, inspect.Keyring)
	if err != nil || !changed(*report.Keyring, k.action, s.Target) {
		return false, err
	}
	return k.uses(ctx, report.Keyring.Digest)
}

// changed reports whether keys are as an action on one of them leaves them.
func changed(keys inspect.Keys, action inspect.KeyAction, name string) bool {
	at := -1
	for i, n := range keys.Names {
		if n == name {
			at = i
		}
	}
	switch action {
	case inspect.KeyAdd:
		return at >= 0
	case inspect.KeyUse:
		return at == 0
	case inspect.KeyRemove:
		return at < 0
	}
	return false
}

func (k keyChanger) uses(ctx context.Context, digest string) (bool, error) {
	client, err := k.Kube(ctx)
	if err != nil {
		return false, err
	}
	used, err := client.EncryptionDigest(ctx)
	return used == digest, err
}

func (k keyChanger) Do(ctx context.Context, s plan.Step) error {
	h, _, err := k.controlPlane()
	if err != nil {
		return err
	}
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Keyring}, Key: &inspect.KeyChange{Name: s.Target, Do: k.action}}, inspect.Keyring)
	if err != nil {
		return err
	}
	k.Progress("waiting until the API server uses the changed encryption keys, which it looks for every minute")
	wait := poll.Wait{For: "the API server to use the changed encryption keys", Timeout: reloadTimeout, Every: reloadPoll}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		return k.uses(ctx, report.Keyring.Digest)
	})
	if err != nil {
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("no Secret is lost, and the command can be run again; the log of the API server says why: on %s, as root, run: journalctl -u 'pai-apiserver-*'", h.Name()), "%w", err)
	}
	return nil
}

// secretStorer encrypts every Secret with the key that is first.
type secretStorer struct{ *cluster }

func (d secretStorer) Done(ctx context.Context, s plan.Step) (bool, error) {
	h, _, err := d.controlPlane()
	if err != nil {
		return false, err
	}
	secrets, err := etcd.SecretsByKey(ctx, h)
	if err != nil {
		return false, err
	}
	return plan.EncryptsAll(s.Target, secrets), nil
}

func (d secretStorer) Do(ctx context.Context, s plan.Step) error {
	client, err := d.Kube(ctx)
	if err != nil {
		return err
	}
	if err := client.StoreSecrets(ctx, func(n int) { d.Progress("encrypted %d Secrets with %s", n, s.Target) }); err != nil {
		return fmt.Errorf("encrypt the Secrets with the key %s: %w", s.Target, err)
	}
	return nil
}
