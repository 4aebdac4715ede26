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

// joinTTL is the life of a joining machine's token when its step is killed and
// cannot revoke it.
const joinTTL = "10m"

// joinToken makes a token with which one kubelet may ask for an identity.
// revoke works after the user's interrupt, too.
func (c *cluster) joinToken(ctx context.Context, v pai.KubernetesVersion) (token string, revoke func() error, err error) {
	control, _, err := c.controlPlane()
	if err != nil {
		return "", nil, err
	}
	kubeadm := layout.Program(v, "kubeadm") + " --kubeconfig " + layout.AdminConf
	out, err := control.Run(ctx, machine.Command{Secret: true, Script: kubeadm + " token create --ttl " + joinTTL + " --description 'a machine is joining' 2>/dev/null"})
	if err != nil {
		return "", nil, fmt.Errorf("make a token for the joining machine: %w", err)
	}
	token = strings.TrimSpace(out.Stdout)
	id, _, ok := strings.Cut(token, ".")
	if !ok {
		return "", nil, fmt.Errorf("make a token for the joining machine: kubeadm printed none")
	}
	revoke = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if _, err := sh(ctx, control, "%s token delete %s", kubeadm, id); err != nil {
			return fmt.Errorf("revoke the joining machine's token: %w", err)
		}
		return nil
	}
	return token, revoke, nil
}

// bootstrapKubeconfig is what kubelet uses until it has an identity.
func bootstrapKubeconfig(server string, ca []byte, token string) ([]byte, error) {
	const name = "bootstrap"
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}
