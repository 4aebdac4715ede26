package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// leaves are the certificates in layout.PKIDir that an authority there signed, without
// the ends of their names. Each has a key.
var leaves = []string{"apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client",
	"etcd/server", "etcd/peer", "etcd/healthcheck-client"}

// pkiKubeconfigs are the kubeconfigs of the PKI step.
var pkiKubeconfigs = []string{layout.AdminConf, layout.ControllerManagerConf, layout.SchedulerConf}

// pkiFiles are the files of the PKI step on the control-plane machine.
func pkiFiles() []string {
	files := append(keyFiles(), layout.CAFile)
	for _, name := range leaves {
		files = append(files, layout.PKIDir+"/"+name+".crt", layout.PKIDir+"/"+name+".key")
	}
	return append(files, pkiKubeconfigs...)
}

// keyFiles are the files that belong to the data of etcd, and cannot be made again.
func keyFiles() []string {
	files := []string{layout.EncryptionFile}
	for _, f := range backup.Authorities() {
		files = append(files, layout.PKIDir+"/"+f)
	}
	return files
}

// lacks returns those of files that a machine does not have, or that are empty, as
// power loss can leave them.
func lacks(ctx context.Context, h machine.Host, files []string) ([]string, error) {
	out, err := sh(ctx, h, "for f in %s; do [ -s \"$f\" ] || echo \"$f\"; done", quoteAll(files))
	return strings.Fields(out), err
}

// missingKeys returns the keys that belong to the data of etcd and are not there.
func missingKeys(ctx context.Context, h machine.Host) ([]string, error) {
	missing, err := lacks(ctx, h, keyFiles())
	if err != nil {
		return nil, fmt.Errorf("look for the keys of the cluster on %q: %w", h.Name(), err)
	}
	return missing, nil
}

func (c *cluster) pkiDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	if missing, err := lacks(ctx, h, pkiFiles()); err != nil || len(missing) > 0 {
		return false, err
	}
	return servesAs(ctx, h, layout.APIName, m.HostIP)
}

// servesAs reports whether the certificate of the API server contains the
// names and is not old.
func servesAs(ctx context.Context, h machine.Host, names ...string) (bool, error) {
	data, err := h.ReadFile(ctx, layout.PKIDir+"/apiserver.crt")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	certificates, err := certs.Parse(data)
	if err != nil || certs.Due(certificates[0], time.Now()) {
		return false, nil
	}
	return !slices.ContainsFunc(names, func(name string) bool { return certificates[0].VerifyHostname(name) != nil }), nil
}

// pki creates the certificates, kubeconfigs, and encryption key that the
// cluster lacks, and keeps the ones it has, so a cleaned cluster returns as
// itself. The encryption key is created on the machine; see sharedKeys for where it goes.
func (c *cluster) pki(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if err := claimPKI(ctx, h); err != nil {
		return err
	}
	if err := checkKeys(ctx, h); err != nil {
		return err
	}
	if _, err := sh(ctx, h, "%s", makeEncryptionKey); err != nil {
		return fmt.Errorf("create the encryption key: %w", err)
	}
	return c.ownCertificates(ctx, h, m, s.To.Kubernetes())
}

// ownCertificates creates what a control-plane machine lacks of the authorities, and of the
// certificates and kubeconfigs that they sign for it.
func (c *cluster) ownCertificates(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) error {
	ok, err := servesAs(ctx, h, layout.APIName, m.HostIP)
	if err != nil {
		return err
	}
	renew := ""
	if !ok {
		renew = "rm -f " + layout.PKIDir + "/apiserver.crt " + layout.PKIDir + "/apiserver.key"
	}
	if _, err := sh(ctx, h, "%s", removeEmpty()); err != nil {
		return fmt.Errorf("remove empty certificates on %q: %w", h.Name(), err)
	}
	_, err = c.kubeadm(ctx, h, v, renew+`
`+quietly+`
quietly "$kubeadm" init phase certs all --config "$config"
for who in admin controller-manager scheduler; do
    quietly "$kubeadm" init phase kubeconfig "$who" --config "$config"
done`)
	if err != nil {
		return fmt.Errorf("create the certificates of the cluster: %w", err)
	}
	if err := c.renewCertificates(ctx, h); err != nil {
		return err
	}
	// kubeadm does not sync what it writes. Once etcd has data, the keys cannot be made again.
	if _, err := sh(ctx, h, "install -m 0644 %[1]s/ca.crt %[2]s\nsync -f %[3]s\nsync -f %[4]s", layout.PKIDir, layout.CAFile, layout.KubernetesDir, layout.ConfigDir); err != nil {
		return fmt.Errorf("make the certificates of %q durable: %w", h.Name(), err)
	}
	return nil
}

// removeEmpty removes what power loss or a kill left empty or without its other part,
// which kubeadm would not replace: a certificate with its key, and kubeconfigs. Authorities
// go as well, with all that they signed, if no etcd has ever started on the machine, so that
// nothing needs them.
func removeEmpty() string {
	return fmt.Sprintf(`cd %[1]s 2>/dev/null || exit 0
torn() { # the key is written first
    for f; do [ ! -e "$f" ] || [ -s "$f" ] || return 0; done
    [ -e "$2" ] && [ ! -e "$1" ]
}
if [ ! -e %[2]s ] && [ ! -e %[3]s ]; then
    for name in ca front-proxy-ca etcd/ca; do
        ! torn $name.crt $name.key || rm -f $name.crt $name.key %[4]s %[5]s
    done
    ! torn sa.pub sa.key || rm -f sa.pub sa.key
fi
for name in %[6]s; do
    ! torn $name.crt $name.key && [ -e $name.key ] || rm -f $name.crt $name.key
done
for f in %[5]s; do
    [ -s $f ] || rm -f $f
done`, layout.PKIDir, layout.SlotA.EtcdEnv(), layout.SlotB.EtcdEnv(), pairs(leaves), strings.Join(pkiKubeconfigs, " "), strings.Join(leaves, " "))
}

// pairs are the files of certificates.
func pairs(names []string) string {
	var files []string
	for _, name := range names {
		files = append(files, name+".crt", name+".key")
	}
	return strings.Join(files, " ")
}

// claimPKI marks the certificates on a machine as those of PAI, before it makes them.
// It refuses those of another Kubernetes: others may have the keys of its authority,
// and the authority may end soon. PAI v0.10 and older left no mark, but a copy of the
// authority.
func claimPKI(ctx context.Context, h machine.Host) error {
	found, err := sh(ctx, h, `[ ! -e %[1]s ] || exit 0
[ -e %[2]s/ca.crt ] && cmp -s %[2]s/ca.crt %[3]s || ls -d %[2]s/*.crt %[2]s/*.key %[2]s/*/*.crt %[2]s/*/*.key %[4]s/*.conf 2>/dev/null || :`,
		layout.PKIMark, layout.PKIDir, layout.CAFile, layout.KubernetesDir)
	if err != nil {
		return fmt.Errorf("look for certificates of another Kubernetes on %q: %w", h.Name(), err)
	}
	if found != "" {
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("if nothing needs them any more, on %s, as root: mv %[2]s %[2]s.old", h.Name(), layout.KubernetesDir),
			"machine %q has certificates that PAI did not make: %s", h.Name(), strings.Join(strings.Fields(found), ", "))
	}
	if _, err := sh(ctx, h, "mkdir -p %[1]s\n[ -e %[2]s ] || echo 'PAI made the certificates in %[3]s.' > %[2]s\nsync %[2]s %[1]s", layout.ConfigDir, layout.PKIMark, layout.PKIDir); err != nil {
		return fmt.Errorf("mark the certificates of %q: %w", h.Name(), err)
	}
	return nil
}

// checkKeys refuses to make new keys for existing data: with another key the Secrets
// in etcd are unreadable, and no machine trusts another authority.
func checkKeys(ctx context.Context, h machine.Host) error {
	have, err := slotsWithData(ctx, h)
	if err != nil || len(have) == 0 {
		return err
	}
	missing, err := missingKeys(ctx, h)
	if err != nil || len(missing) == 0 {
		return err
	}
	return pai.Errorf(pai.CodeFailed, "put the files in place again; to restore the control plane from a backup, see docs/operating.md",
		"%q has the data of etcd, but not the keys that belong to them: %s", h.Name(), strings.Join(missing, ", "))
}

// quietly is a shell function that prints the output of a command only if it fails.
const quietly = `quietly() { log=$("$@" 2>&1) || { printf '%s\n' "$log" >&2; exit 1; }; }`

// makeEncryptionKey writes the encryption configuration of the API server once.
// Secrets are written with the key. The last provider reads older ones.
const makeEncryptionKey = `
if [ ! -s ` + layout.EncryptionFile + ` ]; then
    umask 077
    cat > ` + layout.EncryptionFile + `.new <<KEY
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: $(head -c 32 /dev/urandom | base64)
  - identity: {}
KEY
    sync ` + layout.EncryptionFile + `.new
    mv -T ` + layout.EncryptionFile + `.new ` + layout.EncryptionFile + `
    umask 022
fi
`
