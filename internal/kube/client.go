package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// Client talks to one cluster's API. It is safe for concurrent use.
type Client struct {
	config       *rest.Config
	clientset    kubernetes.Interface
	dynamic      dynamic.Interface
	mapper       *restmapper.DeferredDiscoveryRESTMapper
	progress     func(format string, args ...any)
	retryTimeout time.Duration
	namespaces   *sync.Map // names of those that this client has seen
}

// DefaultRetryTimeout is how long a call is retried during an outage of the API
// server. The replacement of a control plane on slow machines is much faster.
const DefaultRetryTimeout = 3 * time.Minute

// FromKubeconfig returns a client for the kubeconfig's current context. It does
// not connect.
func FromKubeconfig(data []byte) (*Client, error) { return FromKubeconfigOver(data, nil) }

// FromKubeconfigOver is FromKubeconfig with dial for its connections; nil for the
// default.
func FromKubeconfigOver(data []byte, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Client, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.Dial = dial
	return FromConfig(config)
}

// NoProxy is a proxy function for the machines of the cluster. A proxy in the
// environment of the operator is for the internet.
func NoProxy(*http.Request) (*url.URL, error) { return nil, nil } //nolint:nilnil // no proxy and no error

// FromConfig returns a client for a client-go configuration, which it copies.
func FromConfig(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	// The API server limits clients fairly; a second limit here would only make
	// an upgrade slower.
	config.QPS = -1
	config.UserAgent = "paictl"
	if config.Proxy == nil {
		config.Proxy = NoProxy
	}
	config.WarningHandlerWithContext = rest.NoWarnings{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return fenced{responseTimeout{next, responseHeaderTimeout}}
	})

	// Protobuf is several times cheaper to read than JSON, on both sides: a list of
	// the pods of all jobs has megabytes.
	typed := rest.CopyConfig(config)
	typed.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	clientset, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, fmt.Errorf("create Kubernetes client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create Kubernetes client: %w", err)
	}
	// Discovery takes no context, so it needs a timeout.
	discoveryConfig := rest.CopyConfig(config)
	discoveryConfig.Timeout = attemptTimeout
	disco, err := discovery.NewDiscoveryClientForConfig(discoveryConfig)
	if err != nil {
		return nil, fmt.Errorf("create Kubernetes client: %w", err)
	}
	return &Client{
		config:       config,
		clientset:    clientset,
		dynamic:      dyn,
		mapper:       restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
		progress:     func(string, ...any) {},
		retryTimeout: DefaultRetryTimeout,
		namespaces:   &sync.Map{},
	}, nil
}

// WithProgress returns a client that reports its waits.
func (c *Client) WithProgress(progress func(format string, args ...any)) *Client {
	if progress == nil {
		return c
	}
	d := *c
	d.progress = progress
	return &d
}

// WithRetryTimeout returns a client that retries a call for at most d.
func (c *Client) WithRetryTimeout(d time.Duration) *Client {
	e := *c
	e.retryTimeout = d
	return &e
}

// Clientset is the typed client, for reading.
func (c *Client) Clientset() kubernetes.Interface { return c.clientset }

// Dynamic is the untyped client, for reading.
func (c *Client) Dynamic() dynamic.Interface { return c.dynamic }

// RESTConfig is a copy of the client's configuration.
func (c *Client) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// resource returns the resource of an object's kind. The known kinds can be
// outdated, so discovery runs again for an unknown kind.
func (c *Client) resource(ref Ref) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapping(ref.GroupKind(), ref.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(mapping.Resource), nil
	}
	if ref.Namespace == "" {
		return nil, fmt.Errorf("%s is a namespaced object without a namespace", ref)
	}
	return c.dynamic.Resource(mapping.Resource).Namespace(ref.Namespace), nil
}

func (c *Client) mapping(kind schema.GroupKind, version string) (*meta.RESTMapping, error) {
	mapping, err := c.mapper.RESTMapping(kind, version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind, version)
	}
	if err != nil {
		// If the server of a group is unavailable, discovery is incomplete. That
		// does not mean that the kind does not exist.
		var group *discovery.ErrGroupDiscoveryFailed
		if errors.As(err, &group) {
			c.mapper.Reset()
		}
		return nil, fmt.Errorf("find the API of %s %s: %w", kind, version, err)
	}
	return mapping, nil
}

// Ping checks once whether the API server is ready.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if err := c.clientset.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return fmt.Errorf("check whether the API server is ready: %w", err)
	}
	return nil
}

// EnsureNamespace makes a namespace unless it exists. It asks once: no one deletes a namespace
// of PAI, and nothing could be written into one that is missing.
func (c *Client) EnsureNamespace(ctx context.Context, name string) error {
	if _, seen := c.namespaces.Load(name); seen {
		return nil
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	err := c.retry(ctx, "create namespace "+name, func(ctx context.Context) error {
		_, err := c.clientset.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = c.applyOver(ctx, nil, namespace)
		}
		return err
	})
	if err == nil {
		c.namespaces.Store(name, true)
	}
	return err
}
