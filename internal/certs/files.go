package certs

import (
	"pai.dev/pai/internal/layout"
)

// kind is what a file with certificates is.
type kind int

const (
	pair       kind = iota // a certificate whose key is in another file
	kubeconfig             // a kubeconfig with the certificate and the key in it
	kubelet                // a certificate that the kubelet renews
	authority              // a certificate authority
)

// file is a file with certificates.
type file struct {
	path string
	kind kind
	// key has the key of a pair or of an authority.
	key string
	// signer is the certificate of the authority that signs it.
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
			list = append(list, file{path: base + ".crt", kind: pair, key: base + ".key", signer: signer})
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
		f.kind, f.signer = kubeconfig, clusterCA
		list = append(list, f)
	}
	return append(list,
		file{path: layout.KubeletClientCertificate, kind: kubelet},
		file{path: layout.KubeletServingCertificate, kind: kubelet},
		file{path: clusterCA, kind: authority, key: layout.PKIDir + "/ca.key"},
		file{path: etcdCA, kind: authority, key: layout.PKIDir + "/etcd/ca.key"},
		file{path: frontProxyCA, kind: authority, key: layout.PKIDir + "/front-proxy-ca.key"},
	)
}
