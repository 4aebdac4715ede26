package storageprobe

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// nfsPort is where the kubelet mounts from.
const nfsPort = "2049"

// mount mounts an NFS storage over the mount point; the result has a problem if it cannot.
// Tasks have it mounted hard, so that they wait for a server. Here it is soft, and separate
// from mounts of the same export: its limits and its cache are for the probe alone.
func (p Prober) mount(ctx context.Context, r Request) Result {
	client := slices.IndexFunc(p.Clients, func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	})
	if client < 0 {
		return Result{Problem: NoClient}
	}
	if failed := p.reach(ctx, r.Server); failed.Problem != "" {
		return failed
	}
	options := "soft,timeo=50,retrans=2,retry=0,nosharecache,nosuid,nodev"
	if r.ReadOnly {
		options += ",ro"
	}
	ctx, cancel := context.WithTimeout(ctx, mountLimit)
	defer cancel()
	// -n: else the list of the machine in /run/mount has a mount that no other process sees.
	_, err := p.Run(ctx, p.Clients[client], r.Server+":"+r.Path, p.MountPoint, "-n", "-o", options)
	switch {
	case err == nil:
		return Result{}
	case ctx.Err() != nil:
		return Result{Problem: Silent, Detail: detailOf(err)}
	default:
		return Result{Problem: mountProblem(err.Error()), Detail: detailOf(err)}
	}
}

// reach opens a connection to a server, which fails sooner and with a clearer reason than a mount.
func (p Prober) reach(ctx context.Context, server string) Result {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	err := p.Dial(ctx, net.JoinHostPort(server, nfsPort))
	if err == nil {
		return Result{}
	}
	problem := Silent
	unknown := new(net.DNSError)
	switch {
	case errors.As(err, &unknown) && !unknown.IsTimeout:
		problem = UnknownServer
	case errors.Is(err, syscall.ECONNREFUSED):
		problem = NoServer
	}
	return Result{Problem: problem, Detail: detailOf(err)}
}

// mountProblem reads what mount.nfs prints.
func mountProblem(text string) Problem {
	text = strings.ToLower(text)
	for _, known := range []struct {
		text    string
		problem Problem
	}{
		{"access denied by server", Refused},
		{"operation not permitted", Refused}, // the server wants a port below 1024, or another security
		{"permission denied", Refused},
		{"reason given by server: no such file", NoExport},
		{"no such file or directory", NoExport},
		{"not a directory", NoExport},
		{"requested nfs version or transport protocol is not supported", WrongVersion},
		{"protocol not supported", WrongVersion},
		{"rpc.statd is not running", NoClient},
		{"no such device", NoKernel},
		{"unknown filesystem type", NoKernel},
		{"failed to resolve server", UnknownServer},
		{"connection refused", NoServer},
		{"timed out", Silent},
		{"no answer within", Silent},
		{"no route to host", Silent},
		{"network is unreachable", Silent},
	} {
		if strings.Contains(text, known.text) {
			return known.problem
		}
	}
	return Failed
}
