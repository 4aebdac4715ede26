// Package etcd asks and changes the etcds of control-plane machines: members,
// health, status, and keys. It uses the client of etcd through the connection
// to the machine, so each etcd is asked on the loopback address of its machine.
// It decides which members may be removed. It writes keys only with Replace.
package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// callTimeout limits one request to etcd.
const callTimeout = 5 * time.Second

// Client asks the etcds in the two slots of a machine. It lives as long as one
// step: it keeps its connections and the certificate that it read.
type Client struct {
	host  machine.Host
	slots map[layout.Slot]*clientv3.Client
	stop  func() bool
}

// Open returns a client of the etcds of a machine. The first request to a slot
// connects. The connections are closed by Close, or when ctx ends.
func (c *Certificates) Open(ctx context.Context, h machine.Host) (*Client, error) {
	credentials, err := c.read(ctx, h)
	if err != nil {
		return nil, err
	}
	client := &Client{host: h, slots: map[layout.Slot]*clientv3.Client{}}
	for _, s := range layout.Slots() {
		one, err := clientv3.New(configFor(ctx, h, s, credentials))
		if err != nil {
			client.closeAll()
			return nil, fmt.Errorf("create a client for %s on %q: %w", s.Etcd, h.Name(), err)
		}
		client.slots[s] = one
	}
	client.stop = context.AfterFunc(ctx, client.closeAll)
	return client, nil
}

// Open is Certificates.Open for one use of a certificate.
func Open(ctx context.Context, h machine.Host) (*Client, error) {
	return new(Certificates).Open(ctx, h)
}

// Close closes the connections.
func (c *Client) Close() {
	if c.stop() {
		c.closeAll()
	}
}

func (c *Client) closeAll() {
	for _, one := range c.slots {
		_ = one.Close() // reports only that its context has ended
	}
}

func configFor(ctx context.Context, h machine.Host, s layout.Slot, credentials *tls.Config) clientv3.Config {
	return clientv3.Config{
		Context:         ctx,
		Endpoints:       []string{fmt.Sprintf("https://127.0.0.1:%d", s.EtcdClientPort)},
		TLS:             credentials,
		Logger:          zap.NewNop(),
		MaxUnaryRetries: 1, // the callers ask again
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return h.Dial(ctx, "tcp", address) }),
			// The client of etcd waits for a connection until the deadline. A
			// request to an etcd that does not run must fail at once.
			grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				return invoke(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
			}),
			// An etcd that has just started is found soon.
			grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: callTimeout,
				Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.1, MaxDelay: 300 * time.Millisecond}}),
		},
	}
}

// ask sends requests to the etcd in a slot, within a time limit. An operation that has
// lost the lock of the cluster asks nothing: another one changes the members now.
func ask[T any](ctx context.Context, c *Client, s layout.Slot, limit time.Duration, what string, do func(ctx context.Context, etcd *clientv3.Client) (T, error)) (T, error) {
	if err := fence.Check(ctx); err != nil {
		var none T
		return none, fmt.Errorf("%s on %q: %w", what, c.host.Name(), err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no response within %s", limit))
	defer cancel()
	what, started := fmt.Sprintf("%s of %s", what, s.Etcd), time.Now()
	answer, err := do(ctx, c.slots[s])
	machine.LogCall(c.host, what, started, err)
	if err == nil {
		return answer, nil
	}
	if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Canceled {
		<-ctx.Done() // etcd and the connection knew of it a moment earlier
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return answer, fmt.Errorf("%s on %q: %w", what, c.host.Name(), err)
}
