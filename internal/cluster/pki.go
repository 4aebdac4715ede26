package cluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// pkiFiles are what the PKI step leaves on the control-plane machine.
var pkiFiles = []string{
	layout.PKIDir + "/ca.crt", layout.PKIDir + "/ca.key", layout.PKIDir + "/apiserver.crt", layout.PKIDir + "/sa.key", layout.PKIDir + "/sa.pub",
	layout.PKIDir + "/apiserver-kubelet-client.crt", layout.PKIDir + "/apiserver-etcd-client.crt",
	layout.PKIDir + "/front-proxy-ca.crt", layout.PKIDir + "/front-proxy-client.crt",
	layout.PKIDir + "/etcd/ca.crt", layout.PKIDir + "/etcd/server.crt", layout.PKIDir + "/etcd/peer.crt", layout.PKIDir + "/etcd/healthcheck-client.crt",
	layout.AdminConf, layout.KubernetesDir + "/super-admin.conf", layout.KubernetesDir + "/controller-manager.conf", layout.KubernetesDir + "/scheduler.conf",
	layout.EncryptionFile, layout.CAFile,
}

// renewBefore is when a certificate is old enough to be made anew: a third of
// a year's life is left.
const renewBefore = 122 * 24 * time.Hour

func (c *cluster) pkiDone(ctx context.Context, s plan.Step) (bool, error) {
	h, m, err := c.target(s)
	if err != nil {
		return false, err
	}
	out, err := sh(ctx, h, "for f in %s; do [ -s \"$f\" ] || echo \"$f\"; done", quoteAll(pkiFiles))
	if err != nil || out != "" {
		return false, err
	}
	return servesAs(ctx, h, layout.APIName, m.HostIP)
}

// servesAs reports whether the API server's certificate carries the names and
// is not about to run out.
func servesAs(ctx context.Context, h machine.Host, names ...string) (bool, error) {
	data, err := h.ReadFile(ctx, layout.PKIDir+"/apiserver.crt")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return false, nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false, nil
	}
	for _, name := range names {
		if cert.VerifyHostname(name) != nil {
			return false, nil
		}
	}
	return time.Until(cert.NotAfter) > renewBefore, nil
}

// pki makes what is missing of the cluster's certificates, kubeconfigs and
// encryption key, and keeps what is there: a cluster that was cleaned comes
// back as itself. The key that encrypts secrets is made on the machine and
// never leaves it.
func (c *cluster) pki(ctx context.Context, s plan.Step) error {
	h, m, err := c.target(s)
	if err != nil {
		return err
	}
	ok, err := servesAs(ctx, h, layout.APIName, m.HostIP)
	if err != nil {
		return err
	}
	renew := ""
	if !ok {
		renew = "rm -f " + layout.PKIDir + "/apiserver.crt " + layout.PKIDir + "/apiserver.key"
	}
	_, err = c.kubeadm(ctx, h, s.To.Kubernetes(), renew+`
`+quietly+`
quietly "$kubeadm" init phase certs all --config "$config"
for who in admin super-admin controller-manager scheduler; do
    quietly "$kubeadm" init phase kubeconfig "$who" --config "$config"
done
`+renewCertificates+apiNameInKubeconfigs(c.Config.Kubernetes.APIServersPort)+makeEncryptionKey+`
install -m 0644 `+layout.PKIDir+`/ca.crt `+layout.CAFile)
	if err != nil {
		return fmt.Errorf("make the cluster's certificates: %w", err)
	}
	return nil
}

// quietly is a shell function that shows what a command prints only if it fails.
const quietly = `quietly() { log=$("$@" 2>&1) || { printf '%s\n' "$log" >&2; exit 1; }; }`

// oldCertificates is an awk program that reads `kubeadm certs check-expiration`
// and succeeds when any certificate has a third of a year or less left. The
// time that is left is the seventh word of a line: 364d, 9y, 23h, <invalid>.
const oldCertificates = `
$7 ~ /^[0-9]+d$/ { days = $7; sub("d", "", days); if (days + 0 < 122) old = 1 }
$7 ~ /^[0-9]+[hms]$/ || $7 == "<invalid>" { old = 1 }
END { exit !old }`

// renewCertificates makes all certificates anew when any is old. It runs in
// kubeadm's script and uses its functions.
const renewCertificates = `
if "$kubeadm" certs check-expiration --config "$config" 2>/dev/null | awk '` + oldCertificates + `'; then
    quietly "$kubeadm" certs renew all --config "$config"
fi
`

// apiNameInKubeconfigs lets the control plane's own programs use the API's
// stable address: kubeadm points them at one API server.
func apiNameInKubeconfigs(port int) string {
	return fmt.Sprintf("sed -i 's#^\\( *server: \\).*#\\1%s#' %s/controller-manager.conf %s/scheduler.conf\n", layout.APIServerURL(port), layout.KubernetesDir, layout.KubernetesDir)
}

// makeEncryptionKey writes the API server's encryption configuration, once.
// Secrets are written with the key; the last provider reads what was written
// before there was one.
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
