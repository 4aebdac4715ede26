package machine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"pai.dev/pai/internal/pai"
)

// relayScript connects to host $0, port $1 and passes bytes on, after a line with
// $2. It ends with its input, or with the connection.
const relayScript = `exec 3<>"/dev/tcp/$0/$1" 4<&0 || exit 1
echo "$2"
{ cat <&4 >&3; kill "$$"; } 2>/dev/null &
cat <&3`

// relayed is a connection from the machine that a session passes on, where sshd
// forbids to forward TCP connections.
type relayed struct {
	io.Reader
	io.Writer
	end     func()
	ended   sync.Once
	address string
}

// relay connects through a session.
func (h *sshHost) relay(ctx context.Context, address string, refused error) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	client, session, err := h.session(ctx, false)
	if err != nil {
		return nil, err
	}
	r := &relayed{address: address, end: func() { _ = session.Close(); h.release(client) }}
	in, err := session.StdinPipe()
	if err != nil {
		r.Close()
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		r.Close()
		return nil, err
	}
	r.Reader, r.Writer = out, in
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	begin := rand.Text()
	failure := new(bytes.Buffer)
	session.Stderr = failure
	err = session.Start(fmt.Sprintf("exec bash -c %s %s %s %s", Quote(relayScript), Quote(host), Quote(port), begin))
	if err == nil {
		err = skipTo(out, begin)
	}
	if err == nil && stop() {
		return r, nil
	}
	if ctx.Err() == nil && errors.Is(err, io.EOF) {
		err = relayError(h.endpoint, session.Wait(), failure.String(), refused)
	}
	r.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, err
}

// relayError is why a relay did not connect.
func relayError(t Endpoint, ended error, printed string, refused error) error {
	exit := new(ssh.ExitError)
	if errors.As(ended, &exit) && exit.ExitStatus() == 1 {
		_, reason, _ := strings.Cut(strings.TrimSpace(printed), "/dev/tcp/")
		_, reason, _ = strings.Cut(reason, ": ")
		reason, _, _ = strings.Cut(reason, "\n")
		if reason != "" {
			return errors.New(strings.ToLower(reason))
		}
	}
	return pai.Errorf(pai.CodeFailed, fmt.Sprintf("allow it for the user %s in the sshd_config of the machine (AllowTcpForwarding yes), or install bash there", t.User),
		"the sshd of machine %q forbids TCP forwarding: %w", t.Name, refused)
}

// skipTo reads up to a line, and no further.
func skipTo(r io.Reader, line string) error {
	want, at := line+"\n", 0
	for b := make([]byte, 1); at < len(want); {
		if _, err := r.Read(b); err != nil {
			return err
		}
		switch b[0] {
		case want[at]:
			at++
		case want[0]:
			at = 1
		default:
			at = 0
		}
	}
	return nil
}

func (r *relayed) Close() error {
	r.ended.Do(r.end)
	return nil
}

// relayAddress is the address of one end.
type relayAddress string

func (relayAddress) Network() string  { return "tcp" }
func (a relayAddress) String() string { return string(a) }

func (r *relayed) LocalAddr() net.Addr              { return relayAddress("ssh") }
func (r *relayed) RemoteAddr() net.Addr             { return relayAddress(r.address) }
func (r *relayed) SetDeadline(time.Time) error      { return nil }
func (r *relayed) SetReadDeadline(time.Time) error  { return nil }
func (r *relayed) SetWriteDeadline(time.Time) error { return nil }
