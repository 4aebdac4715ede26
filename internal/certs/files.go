package certs

import (
	"pai.dev/pai/internal/layout"
)

// kind is what a file with certificates is.
type kind int

const (
	kindPair       kind = iota // a certificate whose key is in another file
	kindKubeconfig             // a kubeconfig with the certificate and the key in it
	kindKubelet                // a certificate that the kubelet renews
	kindAuthority              // a certificate authority
)

// file is a file with certificates.
type file struct {
	path string
	kind kind
	// key is the path of the key; empty if the key is in the file itself, or is the kubelet's.
	key string
	// signer is the path of the certificate of the authority that signs it; empty if PAI does
	// not renew the file.
	signer string
	// role reads the file once, when it starts; empty if all that read the file
	// notice a new one.
	role layout.Role
}

// The authorities of the cluster.
const (
	clusterCA    = layout.PKIDir + "/ca.crt"
	etcdCA       = layout.PKIDir + "/etcd/ca.crt"
	frontProxyCA = layout.PKIDir + "/front-proxy-ca.crt"
)

// files are the files that can be on a machine, in the order of their renewal. A
// machine has some of them.
//
// The API server and etcd notice a new file of a pair: the API server watches its
// serving certificate and that for aggregated servers, and all others are read in
// each handshake. A kubeconfig with a certificate in it is read once.
func files() []file {
	signed := func(signer string, names ...string) []file {
		var list []file
		for _, name := range names {
			base := layout.PKIDir + "/" + name
			list = append(list, file{path: base + ".crt", kind: kindPair, key: base + ".key", signer: signer})
		}
		return list
	}
	list := signed(etcdCA, "etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client")
	list = append(list, signed(clusterCA, "apiserver", "apiserver-kubelet-client")...)
	list = append(list, signed(frontProxyCA, "front-proxy-client")...)
	for _, f := range []file{
		{path: layout.AdminConf},
		{path: layout.SuperAdminConf},
		{path: layout.ControllerManagerConf, role: layout.RoleControllerManager},
		{path: layout.SchedulerConf, role: layout.RoleScheduler},
		{path: layout.KubeProxyConf, role: layout.RoleKubeProxy},
		{path: layout.NetworkConf, role: layout.RoleNetwork},
	} {
		f.kind, f.signer = kindKubeconfig, clusterCA
		list = append(list, f)
	}
	return append(list,
		file{path: layout.KubeletClientCertificate, kind: kindKubelet},
		file{path: layout.KubeletServingCertificate, kind: kindKubelet},
		file{path: clusterCA, kind: kindAuthority, key: layout.PKIDir + "/ca.key"},
		file{path: etcdCA, kind: kindAuthority, key: layout.PKIDir + "/etcd/ca.key"},
		file{path: frontProxyCA, kind: kindAuthority, key: layout.PKIDir + "/front-proxy-ca.key"},
	)
}
