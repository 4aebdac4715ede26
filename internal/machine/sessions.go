package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// busyTimeout limits the wait for a session on a machine whose sshd is busy.
const busyTimeout = time.Minute

// session opens a session. It uses the connection of the host, and reconnects once
// if that is lost. Where sshd refuses a further session (MaxSessions), and for a
// bulk command, it uses a spare connection. The caller releases the client.
func (h *sshHost) session(ctx context.Context, bulk bool) (client *ssh.Client, session *ssh.Session, err error) {
	lost := false
	wait := poll.Wait{For: fmt.Sprintf("a session on machine %q", h.endpoint.Name), Timeout: busyTimeout, Every: 100 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		for !bulk {
			var err error
			if client, err = h.connection(ctx); err != nil {
				return false, poll.Final(err)
			}
			session, err = client.NewSession()
			if err == nil {
				return true, nil
			}
			if errors.As(err, new(*ssh.OpenChannelError)) {
				break
			}
			h.drop(client)
			if lost {
				return false, poll.Final(fmt.Errorf("open a session on machine %q: %w", h.endpoint.Name, err))
			}
			lost = true
		}
		var err error
		client, session, err = h.spareSession(ctx)
		return err == nil, err
	})
	return client, session, err
}

// spareSession opens a session on a connection without other sessions.
func (h *sshHost) spareSession(ctx context.Context) (*ssh.Client, *ssh.Session, error) {
	for client := h.takeSpare(); client != nil; client = h.takeSpare() {
		if session, err := client.NewSession(); err == nil {
			return client, session, nil
		}
		client.Close()
	}
	if _, err := h.connection(ctx); err != nil { // it reports a closed host
		return nil, nil, poll.Final(err)
	}
	client, err := connect(ctx, h.endpoint)
	if err != nil {
		return nil, nil, err // sshd can be busy
	}
	session, err := client.NewSession()
	if err != nil {
		client.Close()
		if errors.As(err, new(*ssh.OpenChannelError)) {
			err = poll.Final(pai.Errorf(pai.CodeFailed, fmt.Sprintf("allow sessions for the user %s in the sshd_config of the machine (MaxSessions 10)", h.endpoint.User),
				"the sshd of machine %q refuses every session: %w", h.endpoint.Name, err))
		}
		return nil, nil, err
	}
	go keepAlive(client)
	return client, session, nil
}

func (h *sshHost) takeSpare() *ssh.Client {
	h.lock <- struct{}{}
	defer func() { <-h.lock }()
	if len(h.spare) == 0 {
		return nil
	}
	client := h.spare[len(h.spare)-1]
	h.spare = h.spare[:len(h.spare)-1]
	return client
}

// release makes the connection of an ended session available. Connections that
// are lost are found when they are used.
func (h *sshHost) release(client *ssh.Client) {
	h.lock <- struct{}{}
	defer func() { <-h.lock }()
	switch {
	case client == h.client:
	case h.closed || len(h.spare) >= maxSessions:
		client.Close()
	default:
		h.spare = append(h.spare, client)
	}
}
