package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/test/netns"
)

// api stands between paictl and the API of a cluster: what comes over the
// machine's cable for the API's port comes to it. It has the cluster's own
// authority sign its certificate, and passes requests on as administrator.
// The cluster's own programs, and pods, still reach the API itself.
type api struct {
	mode   atomic.Value // "", "500", "reset" or "hang"
	server *http.Server

	mu    sync.Mutex
	asked map[Request]int
}

// Request is a kind of request: who asks, and what for, such as "patch roles".
type Request struct{ Who, What string }

// CountRequests counts the requests that come over the machine's cable until stop is
// called.
func (c *Cluster) CountRequests(ctx context.Context) (stop func() (map[Request]int, error), err error) {
	s, err := c.newAPI(ctx)
	if err != nil {
		return nil, err
	}
	return func() (map[Request]int, error) {
		err := s.close(ctx, c)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.asked, err
	}, nil
}

func (s *api) count(r *http.Request) {
	who, _, _ := strings.Cut(r.UserAgent(), "/")
	what := r.Method + " " + r.URL.Path
	paths := request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	if info, err := paths.NewRequestInfo(r); err == nil && info.IsResourceRequest {
		what = info.Verb + " " + info.Resource
		if r.URL.Query().Has("dryRun") {
			what += " (dry run)"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[Request{who, what}]++
}

const (
	faultProxyPort = 16443
	cable          = "eth0" // of a local machine
)

// faultProxy lets the API fail in a way for 15 s, in several steps.
func faultProxy(mode string) func() Inject {
	steps := []string{"cluster/etcd", "cluster/bootstrap", "machine/pai-1/kubelet", "/jobset", "/rest-server"}
	return func() Inject {
		var s *api // of the running attempt
		inject := inSteps(steps, func(_ context.Context, c *Cluster, a *Attempt, step string) error {
			s.mode.Store(mode)
			c.logf("  the API answers nothing but %q, in %s", mode, step)
			a.within(15 * time.Second)
			s.mode.Store("")
			return nil
		})()
		return func(ctx context.Context, c *Cluster, a *Attempt, n int) (again bool, err error) {
			if s, err = c.newAPI(ctx); err != nil {
				return false, err
			}
			defer func() { err = errors.Join(err, s.close(ctx, c)) }()
			if again, err = inject(ctx, c, a, n); err == nil {
				<-a.ended // connections of paictl's go through here to the last
			}
			return again, err
		}
	}
}

// newAPI starts to stand between paictl and the API.
func (c *Cluster) newAPI(ctx context.Context) (*api, error) {
	namespace, err := c.netns("pai-1")
	if err != nil {
		return nil, err
	}
	proxy, certificate, err := c.adminProxy(ctx, namespace)
	if err != nil {
		return nil, err
	}
	s := &api{asked: map[Request]int{}}
	s.mode.Store("")
	s.server = &http.Server{
		Handler:   s.injectResponse(proxy),
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}},
	}
	var listener net.Listener
	if err := netns.In(namespace, func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp4", fmt.Sprintf(":%d", faultProxyPort))
		return err
	}); err != nil {
		return nil, err
	}
	go func() { _ = s.server.ServeTLS(listener, "", "") }() // ends when it is closed
	_, err = c.inside(ctx, "pai-1", fmt.Sprintf(`
nft add table ip chaos
nft add chain ip chaos pre '{ type nat hook prerouting priority -150; }'
nft add rule ip chaos pre iifname %s tcp dport 6443 redirect to :%d`, cable, faultProxyPort))
	return s, err
}

func (s *api) close(ctx context.Context, c *Cluster) error {
	err := c.undo(ctx, "nft delete table ip chaos")
	return errors.Join(err, s.server.Close())
}

// injectResponse answers as the mode says, and passes on what comes while there is none.
func (s *api) injectResponse(to http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.count(r)
		switch s.mode.Load() {
		case "500":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure",
				"reason": "InternalError", "code": 500, "message": "Internal error occurred: chaos"})
		case "reset":
			panic(http.ErrAbortHandler)
		case "hang":
			<-r.Context().Done()
		default:
			to.ServeHTTP(w, r)
		}
	})
}

// adminProxy passes requests on to the API proxy on the machine's loopback,
// and makes a certificate for its name.
func (c *Cluster) adminProxy(ctx context.Context, namespace string) (http.Handler, tls.Certificate, error) {
	read := func(file string) ([]byte, error) {
		out, err := c.inside(ctx, "pai-1", "cat "+file)
		return []byte(out), err
	}
	kubeconfig, err := read("/etc/kubernetes/admin.conf")
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	cfg.Dial = func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = netns.In(namespace, func() (err error) {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp4", "127.0.0.1:6443")
			return err
		})
		return conn, err
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	caPEM, err := read("/etc/kubernetes/pki/ca.crt")
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	keyPEM, err := read("/etc/kubernetes/pki/ca.key")
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	address, err := c.Address(ctx, "pai-1")
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	certificate, err := signed(caPEM, keyPEM, address)
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		},
	}
	return proxy, certificate, err
}

// signed makes a server certificate that a CA has signed.
func signed(caPEM, keyPEM []byte, address string) (tls.Certificate, error) {
	ca, err := tls.X509KeyPair(caPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "chaos"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"api.pai.internal"}, IPAddresses: []net.IP{net.ParseIP(address)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

// netns is the path of a machine's network namespace.
func (c *Cluster) netns(machine string) (string, error) {
	leader, err := c.leader(machine)
	return fmt.Sprintf("/proc/%d/ns/net", leader), err
}
