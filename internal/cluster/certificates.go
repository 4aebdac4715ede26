package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// renewBefore is the remaining life at which a certificate is renewed: a third
// of the year that kubeadm issues certificates for.
const renewBefore = 122 * 24 * time.Hour

// isOld reports whether a certificate is to be renewed. kubeadm does not renew
// authorities.
func isOld(c *x509.Certificate, now time.Time) bool {
	return !c.IsCA && c.NotAfter.Sub(now) < renewBefore
}

// renewCertificates renews all certificates if one of them is old. The running
// servers read the new files by themselves.
func (c *cluster) renewCertificates(ctx context.Context, h machine.Host, v pai.KubernetesVersion) error {
	certificates, err := controlPlaneCertificates(ctx, h)
	if err != nil {
		return fmt.Errorf("read the certificates of the cluster: %w", err)
	}
	now := time.Now()
	if slices.ContainsFunc(certificates, func(c *x509.Certificate) bool { return isOld(c, now) }) {
		if _, err := c.kubeadm(ctx, h, v, quietly+"\nquietly \"$kubeadm\" certs renew all --config \"$config\""); err != nil {
			return fmt.Errorf("renew the certificates of the cluster: %w", err)
		}
	}
	return c.useAPIName(ctx, h)
}

// controlPlaneCertificates are the certificates in the files and kubeconfigs
// that kubeadm manages.
func controlPlaneCertificates(ctx context.Context, h machine.Host) ([]*x509.Certificate, error) {
	var files []string
	for _, f := range pkiFiles {
		if strings.HasPrefix(f, layout.PKIDir) && strings.HasSuffix(f, ".crt") {
			files = append(files, f)
		}
	}
	out, err := sh(ctx, h, "cat -- %s 2>/dev/null || :", quoteAll(files))
	if err != nil {
		return nil, err
	}
	all, err := parseCertificates([]byte(out))
	if err != nil {
		return nil, err
	}
	for _, f := range kubeconfigs {
		data, err := h.ReadFile(ctx, f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		inside, err := certificatesOfKubeconfig(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, inside...)
	}
	return all, nil
}

// parseCertificates reads a row of PEM blocks.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return all, nil
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}

func certificatesOfKubeconfig(data []byte) ([]*x509.Certificate, error) {
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, user := range config.AuthInfos {
		inside, err := parseCertificates(user.ClientCertificateData)
		if err != nil {
			return nil, err
		}
		all = append(all, inside...)
	}
	return all, nil
}

// useAPIName points the controller manager and the scheduler at the stable
// address of the API. kubeadm points them at one API server.
func (c *cluster) useAPIName(ctx context.Context, h machine.Host) error {
	server := layout.APIServerURL(c.Config.Kubernetes.APIServersPort)
	for _, file := range []string{controllerManagerConf, schedulerConf} {
		data, err := h.ReadFile(ctx, file)
		if err != nil {
			return err
		}
		edited, err := withServer(data, func(string) (string, error) { return server, nil })
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if bytes.Equal(edited, data) {
			continue
		}
		if err := h.WriteFile(ctx, file, edited, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// withServer changes the addresses of the API in a kubeconfig.
func withServer(kubeconfig []byte, change func(server string) (string, error)) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, one := range config.Clusters {
		if one.Server, err = change(one.Server); err != nil {
			return nil, err
		}
	}
	return clientcmd.Write(*config)
}
