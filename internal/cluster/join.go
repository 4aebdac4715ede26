package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// joinTTL is the lifetime of a join token that a killed step cannot revoke.
const joinTTL = "10m"

// joinToken creates a token for one kubelet to request an identity. revoke also
// works after an interrupt.
func (c *cluster) joinToken(ctx context.Context, v pai.KubernetesVersion) (token string, revoke func() error, err error) {
	control, _, err := c.controlPlane()
	if err != nil {
		return "", nil, err
	}
	if v, err = c.controlVersion(ctx, control, v); err != nil {
		return "", nil, err
	}
	kubeadm := layout.Program(v, "kubeadm") + " --kubeconfig " + layout.AdminConf
	out, err := control.Run(ctx, machine.Command{Secret: true, Script: kubeadm + " token create --ttl " + joinTTL + " --description 'a machine is joining' 2>/dev/null"})
	if err != nil {
		return "", nil, fmt.Errorf("create the join token: %w", err)
	}
	token = strings.TrimSpace(out.Stdout)
	id := tokenID(token)
	if id == token {
		return "", nil, fmt.Errorf("create the join token: kubeadm printed none")
	}
	revoke = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if _, err := sh(ctx, control, "%s token delete %s", kubeadm, id); err != nil {
			return fmt.Errorf("revoke the join token: %w", err)
		}
		return nil
	}
	return token, revoke, nil
}

// tokenID is the public part of a join token.
func tokenID(token string) string {
	id, _, _ := strings.Cut(token, ".")
	return id
}

// approveJoining approves what the holder of a join token requests, if it is the identity
// of the kubelet of the machine that the token is for. Kubernetes does not approve it by
// itself: a token that another program got hold of would make it any node.
func approveJoining(ctx context.Context, k *kube.Client, tokenID string, m config.Machine) error {
	requests := k.Clientset().CertificatesV1().CertificateSigningRequests()
	list, err := requests.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.signerName", certs.KubeletSigner).String()})
	if err != nil {
		return fmt.Errorf("list the certificate requests of joining machines: %w", err)
	}
	var refused []error
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Username != certs.JoinUser(tokenID) || len(r.Status.Conditions) > 0 {
			continue
		}
		if err := certs.CheckJoining(requestSpec(r.Spec), tokenID, certs.Machine{Name: m.Hostname, Address: m.HostIP}); err != nil {
			refused = append(refused, fmt.Errorf("certificate request %s of the kubelet that joins on %q is not approved: %w", r.Name, m.Hostname, err))
			continue
		}
		// With v0.10, Kubernetes approves it, too, and can be faster.
		if err := kube.Approve(ctx, k.Clientset(), r, "MachineOfConfiguration", "PAI made the join token for this machine"); err != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("approve certificate request %s: %w", r.Name, err)
		}
	}
	return errors.Join(refused...)
}

// bootstrapKubeconfig is the kubeconfig of a kubelet until it has an identity.
func bootstrapKubeconfig(server string, ca []byte, token string) ([]byte, error) {
	const name = "bootstrap"
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}
