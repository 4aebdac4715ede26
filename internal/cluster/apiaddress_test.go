package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// The unit of the proxy adds the API address before it listens. With one control-plane machine,
// and for other roles, it adds nothing.
func TestUnitOfTheProxyAddsTheAPIAddress(t *testing.T) {
	t.Parallel()
	for _, o := range unitTable {
		if one := unitFile(o.withAPIAddress(testConfig())); one != unitFile(o) {
			t.Errorf("%s of one control-plane machine: %s", o.role, one)
		}
		three := unitFile(o.hardened().withAPIAddress(threeControlPlanes()))
		if o.role == plan.RoleAPIProxy {
			checkRendered(t, "three/api-proxy-unit", three)
		} else if three != unitFile(o.hardened()) {
			t.Errorf("%s of three control-plane machines: %s", o.role, three)
		}
	}
}

// Every role file of one control-plane machine is what it was before there could be several.
func TestRoleFilesHaveTheAPIAddressOnlyWithSeveralControlPlanes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*config.Config{"one": testConfig(), "three": threeControlPlanes()} {
		c := scripted(t)
		c.deps.Config = cfg
		files, err := Files(t.Context(), c.deps, plan.Step{Kind: plan.KindRole, Role: plan.RoleAPIProxy, Target: "pai-2", To: pai.AnyVersion(comparedVersion)})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{layout.UnitFile(plan.RoleAPIProxy), layout.APIProxyFile} {
			if got := strings.Contains(files[path], config.DefaultAPIAddress); got != (name == "three") {
				t.Errorf("%s: %s has the API address: %v", name, path, got)
			}
		}
	}
}

// The endpoints of the API never change with several control-plane machines.
func TestEndpointsOfTheAPI(t *testing.T) {
	t.Parallel()
	one, three := testConfig(), threeControlPlanes()
	if got := endpointAddress(one, one.ControlPlane()); got != "10.9.0.11" {
		t.Errorf("one: got %s", got)
	}
	for _, m := range three.ControlPlanes() {
		if got := endpointAddress(three, m); got != config.DefaultAPIAddress {
			t.Errorf("three, %s: got %s", m.Hostname, got)
		}
	}
	objects, err := (&cluster{Deps: Deps{Config: three}}).bootstrapObjects(three.ControlPlane())
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, o := range objects[len(objects)-2:] {
		all = append(all, o.Object)
	}
	data, err := documents(all...)
	if err != nil {
		t.Fatal(err)
	}
	checkRendered(t, "three/endpoints.yaml", string(data))
}

// The proxies of a cluster connect only to addresses that serve, so no connection passes more
// than two of them.
func TestProxiesConnectToServingAddresses(t *testing.T) {
	t.Parallel()
	cfg := threeControlPlanes()
	var serving []string
	configs := map[string]proxyConfig{}
	for _, m := range cfg.Layout.MachineList {
		configs[m.Hostname] = proxyConfigFor(cfg, m, nil)
		serving = append(serving, configs[m.Hostname].Serve...)
	}
	if len(serving) != 3 {
		t.Errorf("%q serve, want the control-plane machines", serving)
	}
	for name, p := range configs {
		others := 0
		for _, b := range p.Backends {
			if !b.Remote {
				continue
			}
			others++
			if !slices.Contains(serving, b.Address) || slices.Contains(p.Serve, b.Address) || slices.Contains(p.Listen, b.Address) {
				t.Errorf("%s connects to %s", name, b.Address)
			}
		}
		if want := 3 - len(p.Serve); others != want {
			t.Errorf("%s has %d other machines, want %d", name, others, want)
		}
	}
}

// A proxy that is replaced releases the addresses for other machines too.
func TestReleasedProxyHasNoAddress(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	cfg := threeControlPlanes()
	data, err := proxyFile(cfg, cfg.ControlPlane(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := c.hosts["pai-1"]
	h.Write(layout.APIProxyFile, string(data))
	released, err := (&cluster{Deps: c.deps}).releasedProxyFile(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	var p proxyConfig
	if err := json.Unmarshal(released, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Listen) != 0 || len(p.Serve) != 0 || len(p.Backends) != 4 || !p.Backends[3].Remote {
		t.Errorf("got %s, want the servers and no address", released)
	}
}

// The removal of Kubernetes removes the API address by its label, whatever the address is.
func TestCleanRemovesTheAPIAddress(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("scripts/clean.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "ip -4 address flush dev lo label "+layout.APIAddressLabel+" ") {
		t.Error("the script does not remove the API address")
	}
}

// The endpoints are done when they name the address that this number of control-plane machines
// has.
func TestBootstrapIsDoneWithItsEndpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		cfg     *config.Config
		address string
		want    bool
	}{
		{"one", testConfig(), "10.9.0.11", true},
		{"one, that was of several", testConfig(), config.DefaultAPIAddress, false},
		{"three", threeControlPlanes(), config.DefaultAPIAddress, true},
		{"three, that was alone", threeControlPlanes(), "10.9.0.11", false},
	} {
		s := scripted(t)
		s.deps.Config = c.cfg
		api, connect := newFakeAPI(t, map[string]string{})
		s.deps.Kube = connect
		cl, step := &cluster{Deps: s.deps}, plan.Step{Kind: plan.KindBootstrap, To: pai.AnyVersion(comparedVersion)}
		digest, err := cl.bootstrapDigest(t.Context(), s.hosts["pai-1"], c.cfg.ControlPlane(), comparedVersion)
		if err != nil {
			t.Fatal(err)
		}
		record, err := json.Marshal(map[string]string{recordDigest: digest})
		if err != nil {
			t.Fatal(err)
		}
		api.set(t, "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
			corev1.ConfigMap{Data: map[string]string{"ClusterConfiguration": "kubernetesVersion: " + versions[comparedVersion]}})
		api.set(t, "/api/v1/namespaces/"+pai.SystemNamespace+"/configmaps/inventory-"+bootstrapInventory,
			corev1.ConfigMap{Data: map[string]string{"state": kube.InventoryApplied, "objects.json": "[]", "record.json": string(record)}})
		api.set(t, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/"+automaticJoins, rbacv1.ClusterRoleBinding{})
		api.set(t, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
			discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{Addresses: []string{c.address}}}})
		if done, err := Doers(s.deps)[plan.KindBootstrap].Done(t.Context(), step); err != nil || done != c.want {
			t.Errorf("%s: got done %v, %v, want %v", c.name, done, err, c.want)
		}
	}
}

// The proxy of a machine is healthy when it answers at every address that programs and pods use.
func TestHealthOfTheProxyAsksTheAPIAddress(t *testing.T) {
	t.Parallel()
	server, authority := apiNamed(t)
	for want, cfg := range map[string]*config.Config{"127.0.0.1:6443": testConfig(), "127.0.0.1:6443 100.127.255.1:6443": threeControlPlanes()} {
		h := inspecttest.NewHost(t, "pai-2")
		h.Write(layout.CAFile, string(authority))
		var asked []string
		h.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			asked = append(asked, address)
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		}
		if err := (&cluster{Deps: Deps{Config: cfg}}).healthy(t.Context(), h, plan.RoleAPIProxy); err != nil || strings.Join(asked, " ") != want {
			t.Errorf("asked %q: %v, want %s", asked, err, want)
		}
		h.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, config.DefaultAPIAddress) {
				return nil, errors.New("no such address")
			}
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		}
		if err := (&cluster{Deps: Deps{Config: cfg}}).healthy(t.Context(), h, plan.RoleAPIProxy); (err == nil) == cfg.SeveralControlPlanes() {
			t.Errorf("%s: got %v without the API address", want, err)
		}
	}
}

// apiNamed is a server with a certificate for the name of the API, and its authority.
func apiNamed(t *testing.T) (s *httptest.Server, authority []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{layout.APIName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
