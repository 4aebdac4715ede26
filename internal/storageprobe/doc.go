// Package storageprobe tries a storage on the machine that it runs on: it mounts it as the
// kubelet would, writes, reads back, and measures. The program runs in a mount namespace of
// a single probe, so its mounts end with it, however it ends. Its files have no name, or
// one for the moment in which they are made. Every step has a limit: a server that is silent
// is a result.
package storageprobe
