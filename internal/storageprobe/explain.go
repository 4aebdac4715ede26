package storageprobe

import (
	"fmt"

	"pai.dev/pai/internal/pai"
)

// Explain returns what is wrong with a storage on a machine, and what to do about it. Both are
// empty if nothing is.
func (r Result) Explain(s pai.Storage) (found, fix string) {
	if r.Problem == "" {
		return "", ""
	}
	found, fix = explain(r.Problem, s)
	if r.Detail != "" {
		found += " (" + r.Detail + ")"
	}
	return found, fix
}

func explain(p Problem, s pai.Storage) (found, fix string) {
	switch p {
	case NoClient:
		return "the machine has no client of NFS (mount.nfs), so no task with the storage starts there",
			"install it; on Debian and Ubuntu, run: apt-get install nfs-common; on Rocky: dnf install nfs-utils"
	case NoKernel:
		return "the kernel of the machine cannot mount NFS", "load the module: modprobe nfs; a container as a machine needs it on its host"
	case UnknownServer:
		return fmt.Sprintf("the machine finds no address of the server %s", s.Server), "correct storages." + s.Name + ".server, or the name service of the machine"
	case Silent:
		if s.Type == pai.StorageDirectory {
			return fmt.Sprintf("the file system of %s is not responding", s.Path), "bring its server back; tasks that use it wait until then"
		}
		return fmt.Sprintf("the server %s is not responding", s.Server), "bring it back, and let the machine reach its port 2049; tasks that use it wait until then"
	case NoServer:
		return fmt.Sprintf("the host %s has no NFS server: it refuses connections to port 2049", s.Server), "start the server; on Debian, run there: systemctl start nfs-server"
	case Refused:
		return fmt.Sprintf("the server %s does not export %s to this machine", s.Server, s.Path), "add the address of the machine to /etc/exports of the server, then run there: exportfs -ra"
	case NoExport:
		return fmt.Sprintf("the server %s has no export %s", s.Server, s.Path), "correct storages." + s.Name + ".path, or export the directory on the server"
	case WrongVersion:
		return fmt.Sprintf("the machine and the server %s have no version of NFS in common", s.Server), "enable NFS 4 on the server (/etc/nfs.conf, section nfsd), then restart it"
	case Missing:
		return fmt.Sprintf("the machine has no directory %s", s.Path), "mount the file system there, or make the directory, on every machine"
	case NotDirectory:
		return s.Path + " is not a directory", "correct storages." + s.Name + ".path"
	case NotReadable:
		return "root, as tasks usually are, cannot list the storage", rightsFix(s)
	case NotWritable:
		return "root, as tasks usually are, cannot write to the storage", rightsFix(s)
	case IsReadOnly:
		return "the file system is read-only", "export or mount it for writing, or set storages." + s.Name + ".read-only: true"
	case Full:
		return "the storage is full", "free disk space"
	case Differs:
		return "the storage returned other data than were written", "do not use the storage; examine its disks and its server"
	case Failed:
	}
	return "the storage failed", "fix what the message names"
}

func rightsFix(s pai.Storage) string {
	if s.Type == pai.StorageNFS {
		return "the server maps root to another user: give that user rights to the directory, or export it with no_root_squash"
	}
	return "give root rights to the directory"
}
