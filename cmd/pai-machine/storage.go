package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"pai.dev/pai/internal/storageprobe"
)

const (
	storage = "storage"
	// maxStorageRequest bounds the request, in bytes.
	maxStorageRequest = 64 << 10
	// storageBytes is how much is written to a storage and read back.
	storageBytes = 32 << 20
)

// tryStorage reads a request and prints a result. It ends within storageprobe.Limit, with
// everything that it mounted.
func tryStorage(ctx context.Context, in io.Reader, out io.Writer) error {
	watchdog := time.AfterFunc(storageprobe.Limit, func() {
		fmt.Fprintf(os.Stderr, "pai-machine: no result within %s\n", storageprobe.Limit)
		os.Exit(1)
	})
	defer watchdog.Stop()
	if err := ownMounts(); err != nil {
		return err
	}
	var r storageprobe.Request
	if err := json.NewDecoder(io.LimitReader(in, maxStorageRequest)).Decode(&r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if err := r.Check(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return json.NewEncoder(out).Encode(storageprobe.Prober{
		MountPoint: filepath.Dir(self), // a directory that exists; only this process sees the mount
		Run:        run,
		Dial:       dial,
		Clients:    []string{"/sbin/mount.nfs", "/usr/sbin/mount.nfs"},
		MountInfo: func() (string, error) {
			data, err := os.ReadFile("/proc/self/mountinfo")
			return string(data), err
		},
		Bytes: storageBytes,
	}.Probe(ctx, r))
}

// ownMounts returns an error unless the mounts of this process end with it: unshare made a mount
// namespace that the process that started it does not have.
func ownMounts() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return fmt.Errorf("read the mount namespace: %w", err)
	}
	parent, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		return fmt.Errorf("read the mount namespace of the process that started this one: %w", err)
	}
	if own == parent {
		return errors.New("the program has its mount namespace in common with others: run it with unshare --mount")
	}
	return nil
}

func dial(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
