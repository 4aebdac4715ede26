package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

const (
	// bindInterval is the pause between two attempts to listen on an address that
	// another process still uses. No connection is accepted during it.
	bindInterval = 500 * time.Microsecond
	// takeTimeout bounds how long a proxy that starts waits for the listeners that
	// are held for it.
	takeTimeout = 5 * time.Second
	// lookTimeout bounds a connection to an address of this machine. One that waits longer is
	// in the queue of a listener.
	lookTimeout = 500 * time.Millisecond
	// maxHeld bounds the addresses that one message carries.
	maxHeld = 16
)

// hold keeps the addresses of the proxy while its unit restarts: it listens on each
// as soon as the process before releases it, and passes the listeners to the first
// process that asks at the socket path. It accepts no connection itself, so clients wait
// in the queue of the kernel, which goes to the next proxy with the listener. ready is
// called when a proxy can ask.
func hold(ctx context.Context, addresses []string, path string, ready func()) error {
	if len(addresses) > maxHeld {
		return fmt.Errorf("the configuration has %d addresses, and at most %d can be held", len(addresses), maxHeld)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for the next proxy: %w", err)
	}
	defer at.Close()
	defer context.AfterFunc(ctx, func() { _ = at.Close() })()
	bound := make(chan held, 1)
	go func() { bound <- bindAll(ctx, addresses) }()
	ready()

	next, err := at.AcceptUnix()
	if err != nil {
		cancel()
		(<-bound).close()
		return errors.Join(ctx.Err(), fmt.Errorf("wait for the next proxy: %w", err))
	}
	defer next.Close()
	listeners := <-bound
	defer listeners.close()
	if err := listeners.send(next); err != nil {
		return fmt.Errorf("pass the listeners to the next proxy: %w", err)
	}
	return nil
}

// held are listeners by address.
type held map[string]*net.TCPListener

func (h held) close() {
	for _, l := range h {
		l.Close()
	}
}

// bindAll listens on every address that this machine has, each as soon as it is
// free.
func bindAll(ctx context.Context, addresses []string) held {
	h := held{}
	for _, a := range addresses {
		l, err := listenWhenFree(ctx, a)
		if err != nil {
			log.Printf("%s is not held: %v", a, err)
			continue
		}
		h[a] = l
	}
	return h
}

func listenWhenFree(ctx context.Context, address string) (*net.TCPListener, error) {
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return l.(*net.TCPListener), nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(bindInterval):
		}
	}
}

// listening are those addresses of the next proxy at which the running one listens now. An
// address that is closed, because no API server of this machine is ready, stays closed: a
// connection there would wait, and goes to another machine when it is refused.
func listening(ctx context.Context, addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		c, err := new(net.Dialer).DialContext(ctx, "tcp", a)
		if err == nil {
			c.Close()
		}
		return refused(err)
	})
}

// send sends the listeners: their addresses as JSON, and a file descriptor for each.
func (h held) send(to *net.UnixConn) error {
	addresses, fds := []string{}, []int{}
	for a, l := range h {
		file, err := l.File()
		if err != nil {
			return err
		}
		defer file.Close()
		addresses, fds = append(addresses, a), append(fds, int(file.Fd()))
	}
	message, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	_, _, err = to.WriteMsgUnix(message, syscall.UnixRights(fds...), nil)
	return err
}

// take asks at the socket path for the listeners that are held for this process. It
// returns none if no process holds any.
func take(ctx context.Context, path string) (map[string]net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	return receive(c.(*net.UnixConn))
}

func receive(from *net.UnixConn) (map[string]net.Listener, error) {
	message, rights := make([]byte, 4096), make([]byte, syscall.CmsgSpace(4*maxHeld))
	n, rn, _, _, err := from.ReadMsgUnix(message, rights)
	if err != nil {
		return nil, err
	}
	controls, err := syscall.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return nil, err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close() // net.FileListener has its own copy
		}
	}()
	for _, control := range controls {
		fds, err := syscall.ParseUnixRights(&control)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	var addresses []string
	if err := json.Unmarshal(message[:n], &addresses); err != nil {
		return nil, err
	}
	if len(addresses) != len(files) {
		return nil, fmt.Errorf("%d addresses came with %d listeners", len(addresses), len(files))
	}
	listeners := map[string]net.Listener{}
	for i, a := range addresses {
		l, err := net.FileListener(files[i])
		if err != nil {
			return nil, errors.Join(err, closeAll(listeners))
		}
		listeners[a] = l
	}
	return listeners, nil
}

func closeAll(listeners map[string]net.Listener) error {
	var all error
	for _, l := range listeners {
		all = errors.Join(all, l.Close())
	}
	return all
}
