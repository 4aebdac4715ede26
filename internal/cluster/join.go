package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

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
	id, _, ok := strings.Cut(token, ".")
	if !ok {
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
