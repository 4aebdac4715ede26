package machine

import (
	"context"
	"io"
	"time"
)

const (
	// answerTimeout limits a look at a machine; through a jump host, ssh logs in there first.
	answerTimeout        = 3 * time.Second
	proxiedAnswerTimeout = 10 * time.Second
)

// Answers reports whether an ssh server answers at an endpoint, directly or through the jump
// host of the ssh configuration. It does not log in.
func Answers(ctx context.Context, endpoint Endpoint) bool {
	t, err := endpoint.resolved(ctx)
	if err != nil {
		return false
	}
	through, timeout := t.operator.proxy(t), answerTimeout
	if through != nil {
		timeout = proxiedAnswerTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := t.dial(ctx, through)
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	greeting := make([]byte, 4)
	_, err = io.ReadFull(conn, greeting)
	return err == nil && string(greeting) == "SSH-" // RFC 4253, section 4.2
}
