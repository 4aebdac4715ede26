package session

import (
	"context"
	"net"
	"sync"
	"time"

	"pai.dev/pai/internal/machine"
)

// directTimeout limits a direct connection to the API. A firewall that drops
// packets gives no answer.
const directTimeout = 5 * time.Second

// apiDialer connects to the API directly or, where only ssh reaches the
// control-plane machine, from that machine. Of several, any of them will do.
type apiDialer struct {
	direct  dialFunc
	control machine.Host
	report  func(format string, args ...any)

	mu     sync.Mutex
	viaSSH bool
}

func newAPIDialer(control machine.Host, addresses []string, report func(format string, args ...any)) *apiDialer {
	dialer := &net.Dialer{Timeout: directTimeout, KeepAlive: 15 * time.Second}
	return &apiDialer{direct: dialAny(dialer.DialContext, addresses, dialStagger), control: control, report: report}
}

// dial connects. It keeps to ssh once that was the only path, which a second
// direct attempt confirms: the API might just have restarted.
func (d *apiDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.throughSSH() {
		return d.control.Dial(ctx, network, address)
	}
	conn, err := d.direct(ctx, network, address)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	tunnel, sshErr := d.control.Dial(ctx, network, address)
	if sshErr != nil {
		return nil, err // the API is not running there either
	}
	if conn, err := d.direct(ctx, network, address); err == nil {
		tunnel.Close()
		return conn, nil
	}
	if ctx.Err() == nil {
		d.keepToSSH(address)
	}
	return tunnel, nil
}

func (d *apiDialer) throughSSH() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.viaSSH
}

func (d *apiDialer) keepToSSH(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.viaSSH {
		d.viaSSH = true
		d.report("this host does not reach %s, so the API is used through ssh to %s; to use it directly, open the port in the firewall", address, d.control.Name())
	}
}
