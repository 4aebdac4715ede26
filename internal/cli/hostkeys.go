package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// hostKeyFlags say whose host keys are trusted.
type hostKeyFlags struct {
	knownHosts string // file with keys of the machines
	accept     bool   // keys that are shown and not yet known
}

// addHostKeyFlags adds the flags to a command.
func addHostKeyFlags(cmd *cobra.Command) *hostKeyFlags {
	f := &hostKeyFlags{}
	cmd.Flags().StringVar(&f.knownHosts, "known-hosts", "", "file with the host keys of the machines (default: the known hosts of ssh)")
	cmd.Flags().BoolVar(&f.accept, "accept-host-keys", false, "trust the host keys that the machines present, without a question")
	return f
}

// targetKeys are the host keys of one machine, known or presented.
type targetKeys struct {
	machine config.Machine
	keys    []machine.HostKey
	known   bool
	err     error
}

// trustHostKeys writes the host keys of machines to the known hosts of the cluster:
// those that the operator knows, then, after one question, those that the machines
// present.
func trustHostKeys(ctx context.Context, env *Env, targets []config.Machine, own string, f hostKeyFlags) error {
	found := hostKeysOf(ctx, targets, own, f.knownHosts)
	if failed, next := unreadKeys(found); len(failed) > 0 {
		return pai.Errorf(pai.CodeFailed, next, "read the host keys of %d of %d machines:\n%s", len(failed), len(targets), strings.Join(failed, "\n"))
	}
	return env.trustKeys(found, own, f)
}

// hostKeysOf reads the keys of all machines in parallel.
func hostKeysOf(ctx context.Context, targets []config.Machine, own, file string) []targetKeys {
	found := make([]targetKeys, len(targets))
	var wg sync.WaitGroup
	for i, m := range targets {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, hardwareTimeout)
			defer cancel()
			found[i] = keysOf(ctx, m, own, file)
		})
	}
	wg.Wait()
	return found
}

// unreadKeys are the errors of the machines whose keys could not be read.
func unreadKeys(found []targetKeys) (failed []string, next string) {
	for _, t := range found {
		if t.err != nil {
			failed = append(failed, t.err.Error())
			next = pai.NextOf(t.err)
		}
	}
	return failed, next
}

// trustKeys is trustHostKeys for keys that were read.
func (e *Env) trustKeys(found []targetKeys, own string, f hostKeyFlags) error {
	var add, fresh []string
	for _, t := range found {
		if !t.known {
			fresh = append(fresh, fmt.Sprintf("  %s  %s  %s", t.machine.HostIP, t.keys[0].Type, t.keys[0].Fingerprint))
		}
		for _, key := range t.keys {
			add = append(add, key.Line)
		}
	}
	if err := e.acceptHostKeys(fresh, f); err != nil {
		return err
	}
	return addLines(own, add)
}

// keysOf returns the keys of a machine that are known to the cluster, to a file, or
// to the operator; else the key that it presents.
func keysOf(ctx context.Context, m config.Machine, own, file string) targetKeys {
	t := targetKeys{machine: m, known: true}
	for _, known := range []string{own, file} {
		if known == "" {
			continue
		}
		if t.keys, t.err = machine.KnownHostKeys(ctx, session.Endpoint(m.HostIP, m, known)); t.err != nil || len(t.keys) > 0 {
			return t
		}
	}
	key, err := machine.PresentedHostKey(ctx, session.Endpoint(m.HostIP, m, own))
	return targetKeys{machine: m, keys: []machine.HostKey{key}, err: err}
}

// acceptHostKeys shows the keys that nothing knows, and asks once for all.
func (e *Env) acceptHostKeys(fresh []string, f hostKeyFlags) error {
	if len(fresh) == 0 {
		return nil
	}
	e.Progressf("These host keys are not known yet:\n%s\nOn the console of a machine, this command prints its fingerprints: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done", strings.Join(fresh, "\n"))
	if f.accept {
		return nil
	}
	if !e.Interactive {
		return pai.Errorf(pai.CodeRefused, "compare the fingerprints and pass --accept-host-keys, or pass a file with the keys (--known-hosts FILE)",
			"%d host keys are not known, and there is no terminal to ask", len(fresh))
	}
	answer, err := e.ask("Are these the fingerprints of your machines? [y/N] ", "--accept-host-keys")
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return pai.Errorf(pai.CodeRefused, "nothing was changed", "the host keys were not confirmed")
	}
	return nil
}

// addLines adds the lines that a file lacks.
func addLines(file string, lines []string) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read the known hosts of the cluster: %w", err)
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			text += line + "\n"
		}
	}
	if text == string(old) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("create the cluster directory: %w", err)
	}
	return atomicfile.Write(file, []byte(text), 0o600)
}
