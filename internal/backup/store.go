package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"pai.dev/pai/internal/pai"
)

// Options are what a backup is written with.
type Options struct {
	// Recipients are the public keys that can decrypt it.
	Recipients []string
	// Key signs it.
	Key ed25519.PrivateKey
	// Permissions are those of Key, if it is of a machine.
	Permissions []Permission
}

// cleanupTimeout bounds the removal of an incomplete backup after an interrupt.
const cleanupTimeout = 10 * time.Second

// Write makes a backup. fill adds its files, verifies them, and completes the
// manifest. The backup has a manifest, and so exists, only if fill returned nil and
// the target returned what was written.
func Write(ctx context.Context, t Target, m Manifest, o Options, fill func(w *Writer, m *Manifest) error) (Manifest, error) {
	recipients, err := Recipients(o.Recipients)
	if err != nil {
		return m, err
	}
	if !isName(m.Name) {
		return m, pai.Errorf(pai.CodeInvalid, "", "%q is not a name of a backup", m.Name)
	}
	m.Format, m.Recipients = Format, o.Recipients
	if err := removeIncomplete(ctx, t, m.Name); err != nil {
		return m, err
	}
	if err := write(ctx, t, &m, recipients, o, fill); err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		_ = removeIncomplete(cleanup, t, m.Name) // the retention removes it later as well
		return m, fmt.Errorf("write backup %s to %s: %w", m.Name, t, err)
	}
	return m, nil
}

// write writes the objects of a backup, the manifest last.
func write(ctx context.Context, t Target, m *Manifest, recipients []age.Recipient, o Options, fill func(w *Writer, m *Manifest) error) error {
	written := newCounted()
	err := t.Put(ctx, m.Name+"/"+contentFile, func(to io.Writer) error {
		w, err := newWriter(io.MultiWriter(to, written), recipients)
		if err != nil {
			return err
		}
		if err := fill(w, m); err != nil {
			return err
		}
		return w.close()
	})
	if err != nil {
		return err
	}
	m.Content = written.content()
	if err := checkContent(ctx, t, *m); err != nil {
		return err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	signed, err := sign(data, o)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{signatureFile, signed}, {manifestFile, data}} {
		if err := t.Put(ctx, m.Name+"/"+f.name, func(to io.Writer) error { _, err := to.Write(f.data); return err }); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return nil
}

// removeIncomplete removes what an earlier run left of a backup that has no manifest.
func removeIncomplete(ctx context.Context, t Target, name string) error {
	file, err := t.Open(ctx, name+"/"+manifestFile)
	if err == nil {
		return errors.Join(file.Close(), pai.Errorf(pai.CodeConflict, "run the command again", "backup %s exists in %s", name, t))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return deleteBackup(ctx, t, name)
}

// deleteBackup deletes a backup. Without its manifest it is none, so that is first.
func deleteBackup(ctx context.Context, t Target, name string) error {
	for _, f := range []string{manifestFile, signatureFile, contentFile} {
		if err := t.Delete(ctx, name+"/"+f); err != nil {
			return fmt.Errorf("delete backup %s in %s: %w", name, t, err)
		}
	}
	return nil
}

// Found is a backup in a target.
type Found struct {
	Manifest
	// Problem is why it is not a usable backup; empty if its manifest is complete
	// and signed by a trusted key. Its content was not read.
	Problem string `json:"problem,omitempty"`
	// Signer is the public key that signed it, if it is usable. ByMachine is true if that
	// is the key of a machine, which a trusted operator permitted.
	Signer    string `json:"signer,omitempty"`
	ByMachine bool   `json:"byMachine,omitempty"`
	// Incomplete is true if it has no manifest: it is being made, or was interrupted.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Usable reports whether the manifest is trusted.
func (f Found) Usable() bool { return f.Problem == "" }

// List returns the backups of a target, the newest first, with the damaged and the
// incomplete ones.
func List(ctx context.Context, t Target, trusted []ed25519.PublicKey) ([]Found, error) {
	keys, err := t.List(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, k := range keys {
		name, _, _ := strings.Cut(k, "/")
		names = append(names, name)
	}
	slices.Sort(names)
	all := []Found{}
	for _, name := range slices.Compact(names) {
		if !slices.Contains(keys, name+"/"+manifestFile) {
			all = append(all, Found{Manifest: Manifest{Name: name}, Problem: "it has no manifest: it is being made, or its command was interrupted", Incomplete: true})
			continue
		}
		m, by, err := find(ctx, t, name, trusted)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			all = append(all, Found{Manifest: Manifest{Name: name}, Problem: err.Error()})
			continue
		}
		all = append(all, Found{Manifest: m, Signer: by.key, ByMachine: by.permitted})
	}
	slices.SortStableFunc(all, func(a, b Found) int { return b.Taken.Compare(a.Taken) })
	return all, nil
}

// Find reads the manifest of a backup, and checks its signature.
func Find(ctx context.Context, t Target, name string, trusted []ed25519.PublicKey) (Manifest, error) {
	m, _, err := find(ctx, t, name, trusted)
	return m, err
}

func find(ctx context.Context, t Target, name string, trusted []ed25519.PublicKey) (m Manifest, by signer, err error) {
	data, err := readSmall(ctx, t, name+"/"+manifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return m, by, pai.Errorf(pai.CodeNotFound, "list the backups; run: paictl cluster backup list", "backup %s not found in %s", name, t)
	}
	if err != nil {
		return m, by, err
	}
	signed, err := readSmall(ctx, t, name+"/"+signatureFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it has no signature", errSignature)
	}
	if err == nil {
		by, err = checkSignature(data, signed, trusted)
	}
	if err != nil {
		return m, by, &pai.Error{Code: pai.CodeRefused, Message: "backup " + name + " is refused", Err: err,
			Next: "if you trust the owner of the key, pass it with --key"}
	}
	if m, err = decodeManifest(name, data); err != nil {
		return m, by, fmt.Errorf("backup %s: %w", name, err)
	}
	return m, by, nil
}

func readSmall(ctx context.Context, t Target, key string) ([]byte, error) {
	file, err := t.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(contextReader{ctx, file}, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%s has more than %d bytes", key, maxManifest)
	}
	return data, nil
}

// Newest is the newest usable backup of a cluster, or an error.
func Newest(ctx context.Context, t Target, clusterID string, trusted []ed25519.PublicKey) (Manifest, error) {
	all, err := List(ctx, t, trusted)
	if err != nil {
		return Manifest{}, err
	}
	for _, f := range all {
		if f.Usable() && f.ClusterID == clusterID {
			return f.Manifest, nil
		}
	}
	return Manifest{}, pai.Errorf(pai.CodeNotFound, "list what is there; run: paictl cluster backup list", "%s has no usable backup of cluster %s", t, clusterID)
}

// Verify reads a whole backup and compares it with its manifest. With identities, it
// also decrypts it and a Secret of its snapshot with its own key.
func Verify(ctx context.Context, t Target, m Manifest, identities []age.Identity) error {
	if len(identities) == 0 {
		return checkContent(ctx, t, m)
	}
	var c Check
	if err := Read(ctx, t, m, identities, c.Visit); err != nil {
		return err
	}
	if err := c.Err(m.Etcd); err != nil {
		return fmt.Errorf("backup %s: %w", m.Name, err)
	}
	return nil
}

// Check finds out whether the files of a content are those that a restore needs.
type Check struct {
	names      map[string]bool
	encryption []byte
	secret     []byte
	snapshot   error // nil if it is whole
}

// Visit reads a file.
func (c *Check) Visit(name string, size int64, from io.Reader) (err error) {
	if c.names == nil {
		c.names = map[string]bool{}
	}
	c.names[name] = true
	switch name {
	case EncryptionFile:
		c.encryption, err = io.ReadAll(from)
	case SecretFile:
		c.secret, err = io.ReadAll(from)
	case SnapshotFile:
		c.snapshot = checkSnapshot(size, from)
	}
	return err
}

// Err is what is missing or wrong.
func (c *Check) Err(etcd Etcd) error {
	for _, name := range append(AuthorityFiles(), SnapshotFile, EncryptionFile, JobsFile) {
		if !c.names[name] {
			return fmt.Errorf("it has no file %s", name)
		}
	}
	if c.snapshot != nil {
		return c.snapshot
	}
	if etcd.Secrets == 0 {
		return nil
	}
	var secret StoredSecret
	if err := json.Unmarshal(c.secret, &secret); err != nil {
		return fmt.Errorf("read %s: %w", SecretFile, err)
	}
	return CheckKey(c.encryption, secret)
}

// Authorities are the keys in layout.PKIDir that a cluster has for its whole life. A
// restore makes all other certificates of the control plane from them.
func Authorities() []string {
	return []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"}
}

// AuthorityFiles are the files of Authorities in a backup.
func AuthorityFiles() []string {
	var files []string
	for _, f := range Authorities() {
		files = append(files, PKIDir+f)
	}
	return files
}

// checkSnapshot compares a snapshot of etcd with the sha256 at its end
// (go.etcd.io/etcd server/etcdserver/api/v3rpc/maintenance.go).
func checkSnapshot(size int64, from io.Reader) error {
	const sum = 32
	if size <= sum {
		return fmt.Errorf("%s has only %d bytes", SnapshotFile, size)
	}
	data := newCounted()
	if _, err := io.CopyN(data, from, size-sum); err != nil {
		return fmt.Errorf("read %s: %w", SnapshotFile, err)
	}
	want, err := io.ReadAll(io.LimitReader(from, sum))
	if err != nil || !bytes.Equal(data.sum.Sum(nil), want) {
		return errors.Join(fmt.Errorf("%s is damaged: it has not the sha256 at its end", SnapshotFile), err)
	}
	return nil
}
