package config

import "net/netip"

// apiAddress checks the address of the API for pods. With one control-plane machine it is
// not used, so that the ranges of a configuration from before the key stay valid.
func (r rules) apiAddress() {
	k := r.c.Kubernetes
	a, err := netip.ParseAddr(k.APIAddress)
	if err != nil || !r.c.SeveralControlPlanes() {
		return
	}
	const path = "kubernetes.api-address"
	for _, in := range []struct{ key, text string }{
		{"service-cluster-ip-range", k.ServiceClusterIPRange}, {"pod-cluster-ip-range", k.PodClusterIPRange},
	} {
		if p, ok := parseRange(in.text); ok && p.Contains(a) {
			r.problem(KubernetesFile, path, "api-address: %s is in %s %s: use an address that no network has", a, in.key, p)
		}
	}
	for i, m := range r.c.Layout.MachineList {
		if m.HostIP == a.String() {
			r.problem(LayoutFile, machinePath(i, "hostip"), "hostip: %s is the api-address of %s: change that address", a, KubernetesFile)
		}
	}
}
