// Command pause holds the namespaces of the pods that kubeadm makes in the
// benchmark. Unlike that of PAI it knows -v: before an upgrade kubeadm runs
// `pause -v` as a job and waits a minute for it to end, and that minute would
// be ours, not kubeadm's.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	if slices.Contains(os.Args[1:], "-v") {
		fmt.Println("pause of the benchmark")
		return
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
