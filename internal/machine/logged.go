package machine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// Logged is a host that logs every call with its duration and its result, and
// the start of every command. The logger must mask secrets in commands and
// outputs. The contents of files and of standard input are never logged, only
// names and sizes.
func Logged(h Host, log *slog.Logger) Host {
	return &logged{Host: h, log: log.With("machine", h.Name())}
}

type logged struct {
	Host
	log      *slog.Logger
	commands atomic.Int64 // that were started
}

func (l *logged) Run(ctx context.Context, c Command) (Output, error) {
	started, number := time.Now(), l.commands.Add(1)
	script := c.Script
	if c.Secret {
		script = "(secret)"
	}
	l.log.Debug("run", "command", number, "script", script)
	stdin, stdout := &countingReader{r: c.Stdin}, &countingWriter{w: c.Stdout}
	if c.Stdin != nil {
		c.Stdin = stdin
	}
	if c.Stdout != nil {
		c.Stdout = stdout
	}
	out, err := l.Host.Run(ctx, c)
	attrs := []any{"command", number}
	if c.Stdin != nil {
		attrs = append(attrs, "stdin bytes", stdin.n.Load())
	}
	if c.Stdout != nil {
		attrs = append(attrs, "stdout bytes", stdout.n.Load())
	}
	if !c.Secret {
		attrs = append(attrs, "stdout", out.Stdout, "stderr", out.Stderr)
	}
	var ended *CommandError
	switch {
	case err == nil:
		attrs = append(attrs, "exit", 0)
	case errors.As(err, &ended):
		attrs = append(attrs, "exit", ended.Code)
	}
	l.done("ran", started, err, attrs...)
	return out, err
}

func (l *logged) ReadFile(ctx context.Context, path string) ([]byte, error) {
	started := time.Now()
	data, err := l.Host.ReadFile(ctx, path)
	l.done("read file", started, err, "path", path, "bytes", len(data))
	return data, err
}

func (l *logged) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	started := time.Now()
	err := l.Host.WriteFile(ctx, path, data, mode)
	l.done("write file", started, err, "path", path, "bytes", len(data))
	return err
}

func (l *logged) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	started := time.Now()
	err := l.Host.CreateFile(ctx, path, data, mode)
	l.done("create file", started, err, "path", path, "bytes", len(data))
	return err
}

func (l *logged) AppendFile(ctx context.Context, path string, data []byte) error {
	started := time.Now()
	err := l.Host.AppendFile(ctx, path, data)
	l.done("append to file", started, err, "path", path, "bytes", len(data))
	return err
}

func (l *logged) Remove(ctx context.Context, path string) error {
	started := time.Now()
	err := l.Host.Remove(ctx, path)
	l.done("remove file", started, err, "path", path)
	return err
}

func (l *logged) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	started := time.Now()
	conn, err := l.Host.Dial(ctx, network, address)
	l.done("dial", started, err, "address", address)
	return conn, err
}

// LogCall logs a call through a connection of the host, if the host is Logged.
func LogCall(h Host, what string, started time.Time, err error) {
	if l, ok := h.(*logged); ok {
		l.done(what, started, err)
	}
}

func (l *logged) done(what string, started time.Time, err error, attrs ...any) {
	attrs = append(attrs, "took", time.Since(started).Round(time.Millisecond))
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	l.log.Debug(what, attrs...)
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type countingWriter struct {
	w io.Writer
	n atomic.Int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}
